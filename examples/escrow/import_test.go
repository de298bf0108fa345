package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestElasticdumpOutAndIn(t *testing.T) {
	s := newShell(t)
	server, es := s.cluster()
	s.ok("init")
	s.ok("backup", "--es", server.URL)
	dir := filepath.Join(t.TempDir(), "dump")
	out := s.objects(exitDone, "export", "latest", "--format", "elasticdump", "--output", dir)
	require.EqualValues(t, 350, out[0]["documents"])
	s.fails(exitUsage, []string{"without a path"}, "export", "latest:indices", "--format", "elasticdump", "--output", dir)
	drop(t, es, "logs", "orders")

	in := s.objects(exitDone, "import-elasticdump", dir, "--cluster", "old", "--tag", "brought")
	require.EqualValues(t, 350, in[0]["documents"])
	require.EqualValues(t, 2, in[0]["indices"])
	id := in[0]["snapshot_id"].(string)
	s.ok("restore", "--es", server.URL, "--snapshot", id)
	s.ok("verify", "--es", server.URL, "--snapshot", id)
	s.ok("verify", "--es", server.URL, "--snapshot", "latest~1")

	require.NoError(t, os.Remove(filepath.Join(dir, "logs.mapping.json")))
	s.fails(exitFailed, []string{"logs.mapping.json is missing"}, "import-elasticdump", dir)
}
