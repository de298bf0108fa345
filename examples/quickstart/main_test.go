package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository"
)

func noEnv(string) string { return "" }

// The whole program, as a person starts it.
func TestQuickstart(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	require.Zero(t, run(t.Context(), nil, noEnv, &stdout, &stderr), stderr.String())
	require.Empty(t, stderr.String())
	out := stdout.String()
	for _, text := range []string{
		"logs        40,000 documents", "orders      15,000 documents", "products     5,000 documents",
		"holds      60,000 documents", "holds      61,975 documents", "restored   61,975 documents into 3 indices",
		"identical  61,975 documents in 3 indices", "Everything is back",
	} {
		require.Contains(t, out, text)
	}
	read := regexp.MustCompile(`read +([0-9,]+) documents \(([0-9.]+)%\)`).FindStringSubmatch(out)
	require.NotNil(t, read)
	require.NotContains(t, out, "\x1b", "no colours without a terminal")
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func TestKeep(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	var stdout, stderr bytes.Buffer
	d := small(&stdout, &stderr, "")
	d.keep = true
	require.NoError(t, d.run(t.Context()))
	path := regexp.MustCompile(`RESTIC_REPOSITORY=(\S+)`).FindStringSubmatch(stdout.String())
	require.NotNil(t, path)
	require.FileExists(t, path[1]+"/config")
	require.Contains(t, stdout.String(), "restic snapshots\n")
}

// small is the program with less data.
func small(stdout, stderr *bytes.Buffer, url string) *demo {
	few := slices.Clone(shop)
	for i := range few {
		few[i].docs = 400
	}
	return &demo{screen: newScreen(stdout, stderr, noEnv), env: noEnv, url: url, shop: few, opts: &repository.Options{ScryptN: 16, LockSettle: time.Millisecond}}
}

// indices are the names of those in the cluster.
func indices(t *testing.T, s *estest.Server) []string {
	t.Helper()
	res, err := s.Client().Indices.Get([]string{"*"})
	require.NoError(t, err)
	defer res.Body.Close()
	all := map[string]json.RawMessage{}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&all))
	return slices.Collect(maps.Keys(all))
}

// On a given cluster the program leaves nothing behind, and touches nothing that is not its own.
func TestGivenCluster(t *testing.T) {
	server := estest.New(t, nil)
	es := server.Client()
	res, err := es.Indices.Create("theirs")
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	var stdout, stderr bytes.Buffer
	require.NoError(t, small(&stdout, &stderr, server.URL).run(t.Context()))
	require.Regexp(t, `escrow-quickstart-[0-9a-f]{8}-orders +400 documents`, stdout.String())
	require.Equal(t, []string{"theirs"}, indices(t, server))
}

// Whatever goes wrong, and when: the indices are removed.
func TestFailureAndInterruptionCleanUp(t *testing.T) {
	for _, part := range []string{"/_bulk", "/_search", "DELETE /escrow-"} {
		for _, interrupt := range []bool{false, true} {
			server := estest.New(t, nil)
			ctx, cancel := context.WithCancelCause(t.Context())
			var failed atomic.Bool
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				// Searches fail for good, since one that fails once is asked again; of the deletions only the program's own.
				if strings.Contains(r.Method+" "+r.URL.Path, part) && (!failed.Swap(true) || part == "/_search") {
					if interrupt {
						_, _ = io.Copy(io.Discard, r.Body) // only then the server sees the client go
						cancel(errors.New("interrupt signal received"))
						<-r.Context().Done()
						return
					}
					http.Error(w, `{"error":{"type":"boom","reason":"boom"},"status":400}`, http.StatusBadRequest)
					return
				}
				server.ServeHTTP(w, r)
			}))
			var stdout, stderr bytes.Buffer
			err := small(&stdout, &stderr, front.URL).run(ctx)
			front.Close()
			require.Error(t, err, "%s, interrupt %v", part, interrupt)
			require.Empty(t, indices(t, server), "%s, interrupt %v", part, interrupt)
			cancel(nil)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct {
		code int
		text string
		args []string
	}{
		{2, "flag provided but not defined", []string{"-frobnicate"}},
		{2, "no arguments wanted", []string{"surplus"}},
		{1, "127.0.0.1:1", []string{"-elasticsearch", "http://elastic:very-secret@127.0.0.1:1"}},
		{1, "is not a URL", []string{"-elasticsearch", "http://elastic:very-secret@[::1"}},
	} {
		var stdout, stderr bytes.Buffer
		require.Equal(t, c.code, run(t.Context(), c.args, noEnv, &stdout, &stderr))
		require.Contains(t, stderr.String(), c.text)
		require.NotContains(t, stdout.String()+stderr.String(), "very-secret")
	}
}
