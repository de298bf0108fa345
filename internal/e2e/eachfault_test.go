package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

// spoiled is a client that does something to one of its requests.
type spoiled struct {
	next elastictransport.Interface
	at   int // which one, from 0; -1: none
	do   func(next elastictransport.Interface, r *http.Request) (*http.Response, error)

	mu  sync.Mutex
	n   int
	hit *http.Request // what it was done to
}

func (s *spoiled) Perform(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	n := s.n
	s.n++
	if n == s.at {
		s.hit = r
	}
	s.mu.Unlock()
	if n == s.at {
		return s.do(s.next, r)
	}
	return s.next.Perform(r)
}

type spoiling = func(next elastictransport.Interface, r *http.Request) (*http.Response, error)

// answering does not ask the server.
func answering(status int, body string) spoiling {
	return func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{"X-Elastic-Product": {"Elasticsearch"}, "Content-Type": {"application/json"}},
			Body: io.NopCloser(strings.NewReader(body))}, nil
	}
}

// altering changes the server's answer.
func altering(edit func(b []byte) []byte) spoiling {
	return func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		res, err := next.Perform(r)
		if err != nil {
			return nil, err
		}
		b, err := io.ReadAll(res.Body)
		if cerr := res.Body.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			return nil, err
		}
		res.Body, res.ContentLength = io.NopCloser(bytes.NewReader(edit(b))), -1
		return res, nil
	}
}

var someHit = regexp.MustCompile(`\{"_index".*?"sort":\[[^]]*\]\},?`)

// spoilings are what can become of one request.
var spoilings = map[string]spoiling{
	"not sent": func(elastictransport.Interface, *http.Request) (*http.Response, error) {
		return nil, syscall.ECONNRESET
	},
	"done, and the answer lost": func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		res, err := next.Perform(r)
		if err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
		if err != nil {
			return nil, err
		}
		return nil, io.ErrUnexpectedEOF
	},
	"429":                answering(429, `{"error":{"type":"es_rejected_execution_exception","reason":"queue full"},"status":429}`),
	"503":                answering(503, `{"error":{"type":"cluster_block_exception","reason":"no master"},"status":503}`),
	"400":                answering(400, `{"error":{"type":"illegal_argument_exception","reason":"no"},"status":400}`),
	"empty":              answering(200, ""),
	"ends in the middle": altering(func(b []byte) []byte { return b[:len(b)/2] }),
	"a shard failed": altering(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"failed":0`), []byte(`"failed":1,"failures":[{"index":"i","shard":0,"reason":{"type":"x","reason":"disk"}}]`), 1)
	}),
	"timed out": altering(func(b []byte) []byte {
		return bytes.Replace(b, []byte(`"timed_out":false`), []byte(`"timed_out":true`), 1)
	}),
	"a hit is missing": altering(func(b []byte) []byte {
		if loc := someHit.FindIndex(b); loc != nil {
			return append(b[:loc[0]:loc[0]], b[loc[1]:]...)
		}
		return b
	}),
}

// TestEachFaultAtEachRequest does each of the spoilings to each request of a small backup and of a small restore, one at a time, on real
// servers. The backup fails and leaves no snapshot, or holds exactly what the cluster does; the restore made the index of the backup, or fails
// and does not leave what looks whole and is not: one that resumes it makes the index.
func TestEachFaultAtEachRequest(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, e *es) {
		const index = "each-fault"
		logs(t, e, index, 2, 60)
		e.do(t, "POST", "/_aliases", `{"actions":[{"add":{"index":"`+index+`","alias":"each-alias"}}]}`)
		e.drop(t, index, 3)
		repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
		src := files(t, repo, runBackup(t, e, repo, index).Snapshot)
		var mayStayOpen atomic.Int64
		t.Run("backup", func(t *testing.T) {
			o := &backup.Options{Indices: []string{index}, Sections: []string{"none"}, Full: true, Concurrency: 1, Retries: 1}
			count := &spoiled{next: e.transport(t), at: -1}
			_, err := backup.Run(t.Context(), count, newRepo(t, filepath.Join(t.TempDir(), "repo")), o)
			require.NoError(t, err)
			require.Greater(t, count.n, 12)
			good, failed := everySpoiling(t, count.n, func(t *testing.T, repo *repository.Repo, via *spoiled, at func(error) string) bool {
				before := held(t, repo)
				res, err := backup.Run(t.Context(), via, repo, o)
				if via.hit != nil && strings.HasSuffix(via.hit.URL.Path, "/_pit") {
					mayStayOpen.Add(1)
				}
				if err != nil {
					require.Equal(t, before, held(t, repo), at(err))
					return false
				}
				require.Equal(t, before+1, held(t, repo), at(nil))
				diff := verify(t, e, files(t, repo, res.Snapshot), nil)
				require.True(t, diff.Identical(), "%s: %s", at(nil), diff)
				return true
			}, e)
			require.Greater(t, good, 30)
			require.Greater(t, failed, 10)
		})
		require.LessOrEqual(t, e.openContexts(t, index), mayStayOpen.Load(), "points in time were left open")
		t.Run("restore", func(t *testing.T) {
			var number atomic.Int64
			restored := func(t *testing.T) *restore.Options {
				name := fmt.Sprintf("each-back-%d", number.Add(1))
				e.removeLater(t, name)
				return &restore.Options{Rename: []restore.Rename{{From: index, To: name}}, Retries: 1}
			}
			run := func(t *testing.T, via elastictransport.Interface, o *restore.Options) error {
				plan, err := restore.NewPlan(t.Context(), src, via, o)
				if err == nil {
					_, err = plan.Run(t.Context())
				}
				return err
			}
			count := &spoiled{next: e.transport(t), at: -1}
			require.NoError(t, run(t, count, restored(t)))
			require.Greater(t, count.n, 10)
			good, failed := everySpoiling(t, count.n, func(t *testing.T, _ *repository.Repo, via *spoiled, at func(error) string) bool {
				o := restored(t)
				err := run(t, via, o)
				if err != nil {
					o.Resume = true
					require.NoError(t, run(t, e.transport(t), o), at(err))
				}
				diff := verify(t, e, src, o)
				require.True(t, diff.Identical(), "%s: %s", at(err), diff)
				require.NotContains(t, string(e.do(t, "GET", "/"+o.Rename[0].To+"/_alias", "")), restore.UnfinishedPrefix, at(err))
				e.remove(t, o.Rename[0].To)
				return err == nil
			}, e)
			require.Greater(t, good, 30)
			require.Greater(t, failed, 10)
		})
	})
}

// everySpoiling calls run for each spoiling of each of n requests, and says how often it returned true and how often false.
func everySpoiling(t *testing.T, n int, run func(t *testing.T, repo *repository.Repo, via *spoiled, at func(error) string) bool, e *es) (good, failed int) {
	t.Helper()
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for _, kind := range slices.Sorted(maps.Keys(spoilings)) {
			t.Run(kind, func(t *testing.T) {
				t.Parallel()
				repo := newRepo(t, filepath.Join(t.TempDir(), "repo"))
				for i := range n {
					via := &spoiled{next: e.transport(t), at: i, do: spoilings[kind]}
					ok := run(t, repo, via, func(err error) string {
						if via.hit == nil {
							return fmt.Sprintf("request %d: %v", i, err)
						}
						return fmt.Sprintf("request %d (%s %s): %v", i, via.hit.Method, via.hit.URL.Path, err)
					})
					mu.Lock()
					if ok {
						good++
					} else {
						failed++
					}
					mu.Unlock()
				}
			})
		}
	})
	return good, failed
}
