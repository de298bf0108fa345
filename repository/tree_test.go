package repository

import (
	"io/fs"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// The files in testdata are what "restic cat blob ID" of restic 0.14.0 printed, whose SHA-256 is the ID, after
//
//	head -c 100 /dev/zero | tr '\0' a | restic backup --stdin --stdin-filename 'dir/a "b" <é>.ndjson'
//
// (root and dir), and after
//
//	printf 'hello\n' > file && : > empty && ln -s file link && mkdir dir && mkfifo fifo &&
//	printf y > $'bad\xff' && printf x > $'q"uote\\back\n<&>\u200bé' &&
//	chmod 4755 file && chmod 1777 dir && restic backup .
func resticTree(t *testing.T, name, id string) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/" + name)
	require.NoError(t, err)
	require.Equal(t, id, Hash(text).String())
	return text
}

// Our bytes must be the same as restic's, or equal trees would not be stored once.
func TestTreeIsByteIdentical(t *testing.T) {
	for name, id := range map[string]string{
		"tree-stdin-root.json": "1f0a0e101cbee98d62d6571cdb6a9163687138ebc2c41adcef43f64a4bc3de3b",
		"tree-stdin-dir.json":  "8a209cd185e1660f7735b914d71f5774a81e9cee0cb54118938b0ab936a22c0b",
	} {
		text := resticTree(t, name, id)
		nodes, err := decodeTree(text)
		require.NoError(t, err)
		got, err := encodeTree(nodes)
		require.NoError(t, err)
		require.Equal(t, string(text), string(got))
	}
}

func TestTreeOfRealFiles(t *testing.T) {
	text := resticTree(t, "tree-files.json", "1e7e90b93783180b13fdabebe4d8b34fc5a0659544cd774a9c4a89d133ec77fb")
	nodes, err := decodeTree(text)
	require.NoError(t, err)
	modes := map[string]fs.FileMode{}
	for _, n := range nodes {
		modes[n.Name] = n.fileMode()
	}
	require.Equal(t, map[string]fs.FileMode{
		"file": fs.ModeSetuid | 0o755, "empty": 0o644, "link": fs.ModeSymlink | 0o777, "dir": fs.ModeDir | fs.ModeSticky | 0o777,
		"fifo": fs.ModeNamedPipe | 0o644, "bad\xff": 0o644, "q\"uote\\back\n<&>\u200bé": 0o644,
	}, modes)
	got, err := encodeTree(nodes)
	require.NoError(t, err)
	require.Equal(t, string(text), string(got))
}
