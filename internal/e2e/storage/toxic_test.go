package storage_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
	"github.com/escrow-backup/escrow/internal/e2e/toxic"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/rest"
	"github.com/escrow-backup/escrow/repository/backend/s3"
	"github.com/escrow-backup/escrow/repository/backend/sftp"
	"github.com/escrow-backup/escrow/repository/backend/wrap"
	"github.com/escrow-backup/escrow/repository/repositorytest"
	"github.com/escrow-backup/escrow/restore"
)

// seedVariable repeats a run of TestToxicNetwork, as far as the machine's timing allows it.
const seedVariable = "ESCROW_TOXIC_SEED"

// TestToxicNetwork backs up a changing cluster 200 times through a network that breaks all the time. Each backup succeeds or
// fails; one that succeeds holds what the cluster held; and whatever happened, the repository is whole.
func TestToxicNetwork(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv(seedVariable); s != "" {
		var err error
		seed, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("%s=%d", seedVariable, seed)
	for _, c := range []struct {
		name     string
		backups  int
		patience time.Duration
		start    func(t testing.TB) (addr string, open func(ctx context.Context, addr string) (backend.Backend, error))
	}{
		{"s3", 120, time.Second, func(t testing.TB) (string, func(context.Context, string) (backend.Backend, error)) {
			s := servers.MinIO(t, false)
			return strings.TrimPrefix(s.URL, "http://"), func(ctx context.Context, addr string) (backend.Backend, error) {
				return s3.Opener(ctx, "http://"+addr+"/bucket/repo", s.Settings())
			}
		}},
		{"rest", 60, time.Second, func(t testing.TB) (string, func(context.Context, string) (backend.Backend, error)) {
			s := servers.Rclone(t, servers.RcloneOptions{})
			return strings.TrimPrefix(s.URL, "http://"), func(ctx context.Context, addr string) (backend.Backend, error) {
				return rest.Opener(ctx, "http://"+addr+"/repo/", s.Settings())
			}
		}},
		{"sftp", 20, 3 * time.Second, func(t testing.TB) (string, func(context.Context, string) (backend.Backend, error)) {
			s := servers.OpenSSH(t)
			return s.Addr, func(ctx context.Context, addr string) (backend.Backend, error) {
				settings := s.Settings()
				settings.InsecureTLS = addr != s.Addr // known_hosts has another port
				return sftp.Opener(ctx, strings.TrimPrefix((&url.URL{Scheme: "x", User: url.User(s.User), Host: addr, Path: "/" + s.Dir + "/repo"}).String(), "x:"), settings)
			}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			addr, open := c.start(t)
			n := toxicNetwork{addr: addr, open: open, patience: c.patience, rand: rand.New(rand.NewPCG(seed, 0))}
			n.proxy = toxic.Start(t, addr, toxic.Options{
				Seed: seed, Refuse: 0.05, Cut: 0.3, Stall: 0.015, Slow: 0.1,
				MaxBytes: 1 << 20, StallFor: time.Minute, Rate: 4 << 20,
			})
			n.run(t, c.backups)
		})
	}
}

type toxicNetwork struct {
	addr  string
	proxy *toxic.Proxy
	open  func(ctx context.Context, addr string) (backend.Backend, error)
	rand  *rand.Rand
	tries int // that Retry told of

	patience time.Duration // with a server that does not answer
}

// clean opens the repository without the proxy.
func (n *toxicNetwork) clean(t testing.TB) *repository.Repo {
	t.Helper()
	b, err := n.open(t.Context(), n.addr)
	require.NoError(t, err)
	r, err := repository.Open(t.Context(), b, repositorytest.Password, repositorytest.Options())
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, r.Close())
		require.NoError(t, b.Close())
	})
	return r
}

func (n *toxicNetwork) run(t *testing.T, backups int) {
	b, err := n.open(t.Context(), n.addr)
	require.NoError(t, err)
	repositorytest.Init(t, b)
	r := n.clean(t)
	h := estest.NewHandler(nil)
	es := h.Transport()
	for _, index := range []string{"a", "b"} {
		toxicSend(t, es, http.MethodPut, "/"+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0}}`)
	}
	n.change(t, es, 300)
	var sound []*repository.Snapshot
	for i := range backups {
		s, err := n.backup(t.Context(), es, i%3 != 0)
		if err == nil {
			sound = append(sound, s)
			requireIdentical(t, r, s, es)
		} else {
			require.Nil(t, s)
			require.NoError(t, t.Context().Err())
		}
		n.change(t, es, 20)
		if i%25 == 24 {
			requireSound(t, r, nil)
		}
	}
	counts := n.proxy.Counts()
	t.Logf("%d of %d backups succeeded, %d calls were tried again, connections: %+v", len(sound), backups, n.tries, counts)
	require.NotEmpty(t, sound)
	if backups > 20 { // with fewer it might be luck
		require.Less(t, len(sound), backups, "the network was not bad enough")
		require.NotZero(t, n.tries)
		require.NotZero(t, counts.Cut)
	}
	requireSound(t, r, &repository.CheckOptions{ReadData: true})

	// What those who succeeded say is there is all there is, and comes back.
	ids := map[repository.ID]bool{}
	for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		ids[s.ID] = true
	}
	for i, s := range sound {
		require.True(t, ids[s.ID])
		if i%10 != 0 && i != len(sound)-1 {
			continue
		}
		fresh := estest.NewHandler(nil).Transport()
		files, err := r.FS(t.Context(), s)
		require.NoError(t, err)
		plan, err := restore.NewPlan(t.Context(), files, fresh, nil)
		require.NoError(t, err)
		_, err = plan.Run(t.Context())
		require.NoError(t, err)
		requireIdentical(t, r, s, fresh)
	}
}

// backup makes one backup through the proxy, as a process of its own would.
func (n *toxicNetwork) backup(ctx context.Context, es *estest.Transport, retry bool) (*repository.Snapshot, error) {
	tries := 1
	if retry {
		tries = 4
	}
	o := &wrap.RetryOptions{Tries: tries, FirstWait: 5 * time.Millisecond, MaxWait: 50 * time.Millisecond}
	told := make(chan struct{}, 10_000)
	o.Notify = func(wrap.Retrying) { told <- struct{}{} }
	defer func() { n.tries += len(told) }()
	b, err := wrap.RetryOpener(func(ctx context.Context, addr string, _ *backend.Settings) (backend.Backend, error) {
		ctx, cancel := context.WithTimeout(ctx, n.patience)
		defer cancel()
		return n.open(ctx, addr)
	}, o)(ctx, n.proxy.Addr, nil)
	if err != nil {
		return nil, err
	}
	defer func() { _ = b.Close() }() // it has nothing to say
	b = wrap.Retry(wrap.Timeout(b, &wrap.TimeoutOptions{Stall: n.patience}), o)
	r, err := repository.Open(ctx, b, repositorytest.Password, repositorytest.Options())
	if err != nil {
		return nil, err
	}
	res, err := backup.Run(ctx, es, r, &backup.Options{Host: "toxic"})
	_ = r.Close() // a lock that stays is one of a process that is gone
	if err != nil {
		return nil, err
	}
	return res.Snapshot, nil
}

// change writes some documents, new ones and others.
func (n *toxicNetwork) change(t testing.TB, es *estest.Transport, docs int) {
	t.Helper()
	var b strings.Builder
	for range docs {
		fmt.Fprintf(&b, "{\"index\":{\"_id\":\"%d\"}}\n{\"n\": 1.0,\"noise\":\"%x%x\",\"pad\":%q}\n", n.rand.IntN(2000), n.rand.Uint64(), n.rand.Uint64(),
			strings.Repeat("x", n.rand.IntN(2000)))
	}
	toxicSend(t, es, http.MethodPost, "/"+[]string{"a", "b"}[n.rand.IntN(2)]+"/_bulk?refresh=true", b.String())
}

func toxicSend(t testing.TB, es *estest.Transport, method, path, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := es.Perform(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 300)
}

func requireIdentical(t testing.TB, r *repository.Repo, s *repository.Snapshot, es *estest.Transport) {
	t.Helper()
	files, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	diff, err := restore.Verify(t.Context(), files, es, nil)
	require.NoError(t, err)
	require.True(t, diff.Identical(), "%+v", diff)
}

func requireSound(t testing.TB, r *repository.Repo, o *repository.CheckOptions) {
	t.Helper()
	for p, err := range r.Check(t.Context(), o) {
		require.NoError(t, err)
		require.Fail(t, "the repository is damaged", "%v", p)
	}
}
