package local_test

import (
	"bytes"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository/backend"
)

// mount gives a file system of its own of 256 KiB. A user who may not mount skips the test; where the tests of programs are required, this one
// is, too.
func mount(t *testing.T) string {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		if os.Getenv("ESCROW_E2E") == "require" {
			t.Fatalf("needs the right to mount: %v", err)
		}
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, syscall.Unmount(dir, 0)) })
	return dir
}

func TestFullDisk(t *testing.T) {
	dir := mount(t)
	b := open(t, dir)
	large := bytes.Repeat([]byte("x"), 1<<20)
	h := handle(backend.Pack, string(large))
	err := b.Save(t.Context(), h, bytes.NewReader(large), int64(len(large)))
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.ErrorContains(t, err, "save pack "+h.Name)
	require.ErrorContains(t, err, "no space left on device")
	require.NotContains(t, err.Error(), "\n")
	for name := range files(t, dir) {
		require.NotContains(t, name, h.Name)
	}
	save(t, b, handle(backend.Pack, "small"), "small")
	require.Len(t, list(t, b, backend.Pack), 1)
}

func TestReadOnlyMount(t *testing.T) {
	dir := mount(t)
	b := open(t, dir)
	h := handle(backend.Pack, "p")
	save(t, b, h, "p")
	require.NoError(t, syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	for _, err := range []error{
		b.Save(t.Context(), handle(backend.Pack, "q"), strings.NewReader("q"), 1),
		b.Remove(t.Context(), h),
	} {
		require.ErrorIs(t, err, syscall.EROFS)
		require.ErrorIs(t, err, fs.ErrPermission)
		require.ErrorContains(t, err, "read-only file system")
	}
	require.Len(t, list(t, b, backend.Pack), 1)
}
