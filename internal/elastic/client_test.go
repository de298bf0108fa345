package elastic

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// script answers each request with the next of its steps, and the last one again and again.
type script struct {
	steps []step
	seen  []*http.Request
}

type step struct {
	status int
	body   string
	cut    bool
	err    error
}

func (s *script) Perform(r *http.Request) (*http.Response, error) {
	st := s.steps[min(len(s.seen), len(s.steps)-1)]
	s.seen = append(s.seen, r)
	if st.err != nil {
		return nil, st.err
	}
	var body io.Reader = strings.NewReader(st.body)
	if st.cut {
		body = io.MultiReader(body, iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	return &http.Response{StatusCode: st.status, Body: io.NopCloser(body), Header: http.Header{}}, nil
}

func noSleep(ctx context.Context, _ time.Duration) error { return ctx.Err() }

func TestAttempts(t *testing.T) {
	ok := step{status: 200, body: `{"a":1}`}
	for name, c := range map[string]struct {
		steps []step
		once  bool
		calls int
		err   string
	}{
		"good":                 {steps: []step{ok}, calls: 1},
		"overload passes":      {steps: []step{{status: 429}, {status: 503}, {status: 502}, {status: 504}, ok}, calls: 5},
		"overload stays":       {steps: []step{{status: 429, body: "slow down"}}, calls: 4, err: "GET /x: status 429: slow down"},
		"broken connection":    {steps: []step{{err: syscall.ECONNRESET}, {err: io.EOF}, ok}, calls: 3},
		"cut answer":           {steps: []step{{status: 200, body: `{"a"`, cut: true}, ok}, calls: 2},
		"short answer":         {steps: []step{{status: 200, body: `{"a":`}, ok}, calls: 2},
		"broken, not repeated": {steps: []step{{err: syscall.ECONNRESET}}, once: true, calls: 1, err: "connection reset"},
		"overload is repeated": {steps: []step{{status: 429}, ok}, once: true, calls: 2},
		"perhaps done":         {steps: []step{{status: 503}}, once: true, calls: 1, err: "status 503"},
		"done, answer lost":    {steps: []step{{status: 200, body: `{"a":`}}, once: true, calls: 1, err: "ends early"},
		"refused for good":     {steps: []step{{status: 400, body: `{"error":{"type":"parsing_exception","reason":"no"}}`}}, calls: 1, err: "status 400 parsing_exception: no"},
		"nonsense":             {steps: []step{{status: 200, body: `{"a":x}`}}, calls: 1, err: "decode answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &script{steps: c.steps}
			cl := New(s, &Options{Retries: 3, Sleep: noSleep})
			if len(c.steps) > 4 {
				cl = New(s, &Options{Sleep: noSleep})
			}
			var out struct{ A int }
			err := cl.JSON(t.Context(), Request{Method: "GET", Path: "/x", Once: c.once}, &out)
			require.Len(t, s.seen, c.calls)
			sent, retried := cl.Requests()
			require.EqualValues(t, c.calls, sent)
			require.EqualValues(t, c.calls-1, retried)
			require.Equal(t, "identity", s.seen[0].Header.Get("Accept-Encoding"))
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, 1, out.A)
		})
	}
}

func TestAttemptsEndWithTheContext(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &script{steps: []step{{status: 503}}}
	cl := New(s, &Options{Retries: 100, Sleep: func(context.Context, time.Duration) error { cancel(cause); return nil }})
	_, err := cl.Do(ctx, Request{Method: "GET", Path: "/x"})
	require.ErrorIs(t, err, cause)
}

// A dial that takes too long says that a deadline was exceeded, which is not the caller's.
func TestDialTimeoutIsRetried(t *testing.T) {
	d := net.Dialer{Timeout: time.Nanosecond}
	_, err := d.DialContext(t.Context(), "tcp", "127.0.0.1:9")
	require.Error(t, err)
	require.True(t, Retryable(err), "%v", err)
}

func TestError(t *testing.T) {
	e := newError("POST", "/_search", 503, []byte(`{"error":{"type":"search_phase_execution_exception","reason":"all shards failed",
		"root_cause":[{"type":"no_shard_available_action_exception","reason":"x"}],
		"failed_shards":[{"index":"i","shard":3,"reason":{"type":"node_not_connected_exception","reason":"gone","caused_by":{"type":"io_exception"}}}]}}`))
	require.True(t, e.HasCause("no_shard_available_action_exception"))
	require.True(t, e.HasCause("io_exception"))
	require.Contains(t, e.Error(), "index i shard 3: node_not_connected_exception: gone")
	require.NotErrorIs(t, e, fs.ErrNotExist)

	require.ErrorIs(t, newError("GET", "/i", 404, nil), fs.ErrNotExist)
	require.ErrorIs(t, newError("GET", "/i", 401, nil), fs.ErrPermission)
	require.ErrorIs(t, newError("GET", "/i", 403, nil), fs.ErrPermission)
	require.ErrorIs(t, newError("PUT", "/i", 400, []byte(`{"error":{"type":"resource_already_exists_exception","reason":"x"}}`)), fs.ErrExist)
	require.Equal(t, "x y", newError("GET", "/", 405, []byte(`{"error":"x\n y"}`)).Reason)
	require.LessOrEqual(t, len(newError("GET", "/", 500, []byte(strings.Repeat("é", 5000))).Reason), 503)
}

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true}, {"a", "ab", false}, {"*", "", true}, {"*", "x", true}, {"a*", "ab", true}, {"*b", "ab", true},
		{"a*a", "a", false}, {"a*a", "aa", true}, {"a*b*c", "a1b2c", true}, {"a*b*c", "a1c2b", false}, {"**", "x", true}, {"", "x", false},
		{"a*bc*c", "abcc", true}, {"a*bc*c", "abc", false},
	} {
		require.Equal(t, c.want, Match([]string{c.pattern}, c.name), "%s %s", c.pattern, c.name)
	}
	require.False(t, Match(nil, "x"))
}

func TestAtLeast(t *testing.T) {
	require.True(t, atLeast("9.2.0", 9, 2))
	require.True(t, atLeast("9.10.0", 9, 2))
	require.True(t, atLeast("10.0.0", 9, 2))
	require.False(t, atLeast("9.1.4", 9, 2))
	require.False(t, atLeast("8.19.0", 9, 2))
	require.True(t, atLeast("serverless", 9, 2))
}

func TestAListThatIsEmptyIsNotAbsent(t *testing.T) {
	pipelines := Sections()[2]
	require.Equal(t, "ingest_pipelines", pipelines.Name)
	for body, absent := range map[string]bool{`{}`: false, `{"error":"no handler found for uri","status":404}`: true, ``: true} {
		c := New(&script{steps: []step{{status: 404, body: body}}}, nil)
		objects, err := c.Objects(t.Context(), pipelines)
		var a *AbsentError
		require.Equal(t, absent, errors.As(err, &a), body)
		require.Empty(t, objects)
	}
}
