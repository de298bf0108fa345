package push_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/metrics"
	"github.com/escrow-backup/escrow/metrics/push"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// recorder answers as a Pushgateway and keeps the requests. The real one is asked in internal/e2e.
type recorder struct {
	mu       sync.Mutex
	status   int
	requests []string
	names    map[string][]string // metrics by path
	auth     []string
	groups   string
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, req.Method+" "+req.URL.EscapedPath())
	_, password, _ := req.BasicAuth()
	r.auth = append(r.auth, password)
	if req.Method == http.MethodPost {
		d := expfmt.NewDecoder(req.Body, expfmt.ResponseFormat(req.Header))
		families, err := decode(d)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.names[req.URL.EscapedPath()] = families
	}
	if r.status != 0 {
		w.WriteHeader(r.status)
		return
	}
	if req.Method == http.MethodGet {
		_, _ = w.Write([]byte(r.groups))
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

var (
	invoker = metrics.Invoker{Kind: "BackupBatch", Namespace: "demo", Name: "all", Driver: "Restic", Repository: "store"}
	target  = metrics.Target{Group: "appcatalog.appscode.com", Kind: "AppBinding", Name: "es"}
)

func TestHostsAndTargetsHaveKeysOfTheirOwn(t *testing.T) {
	r := &recorder{names: map[string][]string{}}
	s := httptest.NewServer(r)
	defer s.Close()
	g, err := push.New("http://user:secretword@"+s.Listener.Addr().String()+"/", nil)
	require.NoError(t, err)
	c := metrics.NewCatalogue(metrics.ShortNames)
	ctx := t.Context()
	require.NoError(t, (&metrics.BackupSession{Invoker: invoker, End: time.Unix(1, 0)}).Record(ctx, c, g))
	require.NoError(t, (&metrics.BackupTarget{Invoker: invoker, Target: target}).Record(ctx, c, g))
	for _, host := range []string{"a", "b"} {
		require.NoError(t, (&metrics.BackupHost{}).Record(ctx, c, g, invoker, target, host))
	}
	require.NoError(t, (&metrics.Repository{Namespace: "demo", Name: "store"}).Record(ctx, c, g))
	require.Empty(t, r.requests)
	require.NoError(t, g.Flush(ctx))
	slices.Sort(r.requests)
	const base = "/metrics/job/backupbatch-demo-all"
	paths := []string{}
	for p := range r.names {
		paths = append(paths, p)
	}
	require.Len(t, paths, 5)
	require.Len(t, r.requests, 5)
	require.Equal(t, []string{"escrow_backup_last_run_time_seconds", "stash_backup_session_duration_seconds", "stash_backup_session_success",
		"stash_backup_target_count_total"}, r.names[base])
	require.Contains(t, paths, "/metrics/job/repository-demo-store")
	hosts := 0
	for p, names := range r.names {
		if slices.Contains(names, "stash_backup_host_backup_success") {
			hosts++
			require.Contains(t, p, "/hostname/")
		}
	}
	require.Equal(t, 2, hosts)
	require.NotContains(t, r.auth, "")

	require.NoError(t, g.Flush(ctx), "nothing is left")
	require.Len(t, r.requests, 5)
}

func TestWhatCouldNotBeSentIsSentLater(t *testing.T) {
	r := &recorder{names: map[string][]string{}, status: http.StatusServiceUnavailable}
	s := httptest.NewServer(r)
	defer s.Close()
	g, err := push.New("http://user:secretword@"+s.Listener.Addr().String(), nil)
	require.NoError(t, err)
	c := metrics.NewCatalogue(metrics.ShortNames)
	require.NoError(t, (&metrics.BackupSession{Invoker: invoker}).Record(t.Context(), c, g))
	err = g.Flush(t.Context())
	require.ErrorContains(t, err, "push metrics of backupbatch-demo-all")
	require.NotContains(t, err.Error(), "secretword")
	r.status = 0
	require.NoError(t, g.Record(t.Context(), c.BackupSuccess, 1, "BackupBatch", "all", "demo", "Restic", "store"))
	r.names = map[string][]string{}
	require.NoError(t, g.Flush(t.Context()))
	require.Len(t, r.names["/metrics/job/backupbatch-demo-all"], 4)

	s.Close()
	require.NoError(t, g.Record(t.Context(), c.BackupSuccess, 1, "BackupBatch", "all", "demo", "Restic", "store"))
	err = g.Flush(t.Context())
	require.Error(t, err)
	require.NotContains(t, err.Error(), "secretword")
}

func TestDeleteRemovesEverySourceOfTheGroup(t *testing.T) {
	r := &recorder{names: map[string][]string{}, groups: `{"status":"success","data":[{"labels":{"job":"backupbatch-demo-all"}},
		{"labels":{"job":"backupbatch-demo-all","hostname":"a","name":""}},{"labels":{"job":"other"}}]}`}
	s := httptest.NewServer(r)
	defer s.Close()
	g, err := push.New(s.URL, nil)
	require.NoError(t, err)
	c := metrics.NewCatalogue(metrics.ShortNames)
	require.NoError(t, (&metrics.BackupSession{Invoker: invoker}).Record(t.Context(), c, g))
	require.NoError(t, g.Delete(t.Context(), invoker.Group()))
	require.Len(t, r.requests, 3)
	require.Equal(t, "DELETE /metrics/job/backupbatch-demo-all", r.requests[1])
	require.NoError(t, g.Flush(t.Context()))
	require.Len(t, r.requests, 3, "what was recorded of it is forgotten, too")

	r.groups = "no JSON"
	require.ErrorContains(t, g.Delete(t.Context(), "x"), "delete metrics of x: the Pushgateway's list of groups")
	r.status = http.StatusForbidden
	require.ErrorContains(t, g.Delete(t.Context(), "x"), "403")
	_, err = push.New("pushgateway:9091/secretword", nil)
	require.ErrorContains(t, err, "pushgateway: the address is not a URL")
	require.NotContains(t, err.Error(), "secretword")
	require.ErrorContains(t, g.Record(t.Context(), c.BackupSuccess, 1, "x"), "label values")
}
