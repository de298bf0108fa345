package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPartOfASnapshot(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	s.ok("init")
	s.ok("backup", "--es", server.URL)
	drop(t, es, "logs", "orders")

	ids := filepath.Join(t.TempDir(), "ids")
	require.NoError(t, os.WriteFile(ids, []byte("id 7\r\nid 8\n\nid 299\nid 400\n"), 0o600))
	done := s.objects(exitDone, "restore", "--es", server.URL, "--index", "logs-kim", "--ids-file", ids, "--query", `{"range":{"n":{"lt":100}}}`,
		"--settings", `{"number_of_shards":1,"refresh_interval":"9s"}`, "--mappings", `{"_meta":{"part":true}}`, "--rename-alias", "*-kim=*-old-kim")
	sum := done[len(done)-1]
	require.EqualValues(t, 2, sum["documents"])
	require.EqualValues(t, 298, sum["left_out"])
	res, err := es.Indices.Get([]string{"logs"})
	require.NoError(t, err)
	defer res.Body.Close()
	var got map[string]struct {
		Aliases  map[string]any
		Mappings map[string]any
		Settings struct {
			Index map[string]any `json:"index"`
		}
	}
	require.NoError(t, json.NewDecoder(res.Body).Decode(&got))
	require.Equal(t, "1", got["logs"].Settings.Index["number_of_shards"])
	require.Equal(t, "9s", got["logs"].Settings.Index["refresh_interval"])
	require.Equal(t, map[string]any{"part": true}, got["logs"].Mappings["_meta"])
	require.Contains(t, got["logs"].Aliases, "logs-old-kim")
	s.fails(exitFailed, []string{"differs in 1 of 1 index"}, "verify", "--es", server.URL, "--index", "logs")
	s.ok("verify", "--es", server.URL, "--index", "logs", "--ids-file", ids, "--query", `{"range":{"n":{"lt":100}}}`,
		"--settings", `{"number_of_shards":1,"refresh_interval":"9s"}`, "--mappings", `{"_meta":{"part":true}}`, "--rename-alias", "*-kim=*-old-kim")

	s.ok("restore", "--es", server.URL, "--index", "orders", "--metadata-only")
	require.Contains(t, s.ok("restore", "--es", server.URL, "--index", "orders", "--documents-only"), "restored 50 documents")
	s.ok("verify", "--es", server.URL, "--index", "orders")
	s.fails(exitFailed, []string{"it holds no ids"}, "restore", "--es", server.URL, "--ids-file", os.DevNull)
}

func TestRejectedFile(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	s.ok("init")
	s.ok("backup", "--es", server.URL)
	drop(t, es, "logs", "orders")
	file := filepath.Join(t.TempDir(), "rejected")
	args := []string{"restore", "--es", server.URL, "--rejected-file", file, "--mappings", `{"properties":{"user":{"type":"long"}}}`, "--query", `{"range":{"n":{"lt":3}}}`}
	s.fails(exitFailed, []string{"was refused"}, append(args, "--index", "orders")...)
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, 3, strings.Count(string(b), "\n"))
	require.Contains(t, string(b), `"source":{"n":1, "user":"kim"}}`)
	s.fails(exitFailed, []string{"--rejected-file", "exists"}, args...)
	require.NoError(t, os.Remove(file))
	done := s.objects(exitOmitted, append(args, "--max-rejects", "6")...)
	require.EqualValues(t, 6, done[len(done)-1]["rejected"])
	require.NoError(t, os.Remove(file))
	drop(t, es, "logs", "orders")
	s.ok("restore", "--es", server.URL, "--rejected-file", file)
	require.NoFileExists(t, file, "nothing was refused")
	res, err := es.Indices.Exists([]string{"logs"})
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, res.StatusCode)
	require.NoError(t, res.Body.Close())
}
