package backup

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// fullStore is a store that has no room for packs while full is set.
type fullStore struct {
	backend.Backend
	full bool
	each func() // called before each pack
}

var errStoreFull = errors.New("no room in the store")

func (s *fullStore) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if s.full && h.Type == backend.Pack {
		return errStoreFull
	}
	if s.each != nil && h.Type == backend.Pack {
		s.each()
	}
	return s.Backend.Save(ctx, h, body, size)
}

func dumpsIn(t *testing.T, dir string) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "escrow-interim-*"))
	require.NoError(t, err)
	return all
}

func TestInterim(t *testing.T) {
	h, es := cluster(t)
	index(t, es, "a", 1000, 3000, "more")
	dir := filepath.Join(t.TempDir(), "volume")
	store := &fullStore{Backend: mem.New()}
	repo := repositorytest.Init(t, store)
	o := &Options{Interim: dir}

	// The points in time are closed before the first byte is uploaded.
	var packs, open atomic.Int64
	store.each = func() {
		packs.Add(1)
		open.Add(int64(h.OpenContexts()))
	}
	res, err := Run(t.Context(), es, repo, o)
	require.NoError(t, err)
	require.Positive(t, packs.Load())
	require.Zero(t, open.Load())
	store.each = nil
	require.False(t, res.Resumed)
	requireSame(t, es, repo, res, "a", "b", "empty")
	require.Empty(t, dumpsIn(t, dir))
	require.Equal(t, res.Documents, res.DocumentsRead)
	require.Positive(t, res.BytesAdded)
	require.Positive(t, res.Segments)

	// The next backup builds on it.
	next, err := Run(t.Context(), es, repo, nil)
	require.NoError(t, err)
	require.Equal(t, res.Snapshot.ID, next.Parent.ID)
	require.Zero(t, next.DocumentsRead)
	requireSame(t, es, repo, next, "a", "b", "empty")

	// An upload that fails leaves the dump, and the next run uploads that and not what the cluster holds by then.
	index(t, es, "b", 500, 510, "in the dump")
	store.full = true
	_, err = Run(t.Context(), es, repo, o)
	require.ErrorIs(t, err, errStoreFull)
	require.ErrorContains(t, err, "is kept, the next run uploads it")
	require.Len(t, dumpsIn(t, dir), 1)
	want := live(t, es, "b")
	send(t, es, "DELETE", "/b/_doc/id-1", "")
	store.full = false
	other, err := Run(t.Context(), es, repo, &Options{Interim: dir, Indices: []string{"a"}})
	require.NoError(t, err)
	require.False(t, other.Resumed, "another selection is another dump")
	require.Len(t, dumpsIn(t, dir), 1)
	res, err = Run(t.Context(), es, repo, o)
	require.NoError(t, err)
	require.True(t, res.Resumed)
	require.Zero(t, res.DocumentsRead)
	require.Equal(t, res.Manifest.Started.Unix(), res.Snapshot.Time.Unix())
	require.Equal(t, want, contents(t, repoFiles(t, repo, res.Snapshot), res.Manifest)["b"])
	require.Empty(t, dumpsIn(t, dir))
	res, err = Run(t.Context(), es, repo, o)
	require.NoError(t, err)
	require.False(t, res.Resumed)
	requireSame(t, es, repo, res, "a", "b", "empty")
}

// Whatever lies in the directory: what is uploaded is right, and what is not is made anew.
func TestInterimIsNotTrusted(t *testing.T) {
	_, es := cluster(t)
	for name, spoil := range map[string]func(t *testing.T, dump string){
		"no manifest": func(t *testing.T, dump string) {
			require.NoError(t, os.Remove(filepath.Join(dump, layout.ManifestPath)))
		},
		"half a manifest": func(t *testing.T, dump string) {
			require.NoError(t, os.Truncate(filepath.Join(dump, layout.ManifestPath), 100))
		},
		"a byte": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.DocumentsPath("a", 0)), func(b []byte) []byte {
				return bytes.Replace(b, []byte(`"one": 1.0`), []byte(`"one": 1.1`), 1)
			})
		},
		"a document": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.DocumentsPath("a", 0)), func(b []byte) []byte { return b[:bytes.LastIndexByte(b[:len(b)-1], '{')] })
		},
		"longer": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.DocumentsPath("a", 1)), func(b []byte) []byte { return append(b, "{\"index\":{\"_id\":\"x\"}}\n{}\n"...) })
		},
		"ids": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.IDsPath("b", 0)), func(b []byte) []byte { return b[:len(b)-5] })
		},
		"a file is gone": func(t *testing.T, dump string) {
			require.NoError(t, os.Remove(filepath.Join(dump, layout.IndexPath("b"))))
		},
		"the documents of a shard are gone": func(t *testing.T, dump string) {
			require.NoError(t, os.Remove(filepath.Join(dump, layout.DocumentsPath("a", 1))))
		},
		"the files of another shard": func(t *testing.T, dump string) {
			for _, name := range []func(index string, shard int) string{layout.DocumentsPath, layout.IDsPath, layout.SidecarPath} {
				b, err := os.ReadFile(filepath.Join(dump, name("a", 0)))
				require.NoError(t, err)
				edit(t, filepath.Join(dump, name("a", 1)), func([]byte) []byte { return b })
			}
		},
		"another cluster's": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.ManifestPath), func(b []byte) []byte {
				m, err := layout.ReadManifest(os.DirFS(dump))
				require.NoError(t, err)
				return bytes.ReplaceAll(b, []byte(m.Cluster.UUID), []byte("another"))
			})
		},
		"segments": func(t *testing.T, dump string) {
			edit(t, filepath.Join(dump, layout.SidecarPath("a", 0)), func([]byte) []byte { return []byte(`{"format":1,"segments":[]}`) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			store := &fullStore{Backend: mem.New()}
			repo := repositorytest.Init(t, store)
			store.full = true
			_, err := Run(t.Context(), es, repo, &Options{Interim: dir})
			require.ErrorIs(t, err, errStoreFull)
			store.full = false
			spoil(t, dumpsIn(t, dir)[0])
			for range 2 {
				res, err := Run(t.Context(), es, repo, &Options{Interim: dir})
				if err != nil {
					require.ErrorIs(t, err, errDumpDamaged)
					requireNoSnapshot(t, repo)
					continue
				}
				require.False(t, res.Resumed)
				requireSame(t, es, repo, res, "a", "b", "empty")
				return
			}
			t.Fatal("a damaged dump is not made anew")
		})
	}
}

func edit(t *testing.T, name string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, change(b), 0o600))
}

// A dump that fails leaves neither a snapshot nor files, and one that was killed is made anew.
func TestInterimAfterFailures(t *testing.T) {
	_, es := cluster(t)
	dir := t.TempDir()
	repo := repositorytest.New(t)
	broken := onRequests(es, "/b/_pit", func(elastictransport.Interface, *http.Request) (*http.Response, error) { return answer(400, "{}") })
	_, err := Run(t.Context(), broken, repo, &Options{Interim: dir})
	require.Error(t, err)
	requireNoSnapshot(t, repo)
	require.Empty(t, dumpsIn(t, dir))

	// Left by a process that was killed: anything but a manifest.
	j, err := newJob(t.Context(), es, &Options{Interim: dir})
	require.NoError(t, err)
	i, err := j.openInterim()
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(i.dir, "indices", "gone"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(i.dir, "indices", "gone", "shard-0.ndjson.partial"), []byte("x"), 0o600))
	require.NoError(t, i.root.Close())
	res, err := Run(t.Context(), es, repo, &Options{Interim: dir})
	require.NoError(t, err)
	requireSame(t, es, repo, res, "a", "b", "empty")
	require.NotContains(t, repoFiles(t, repo, res.Snapshot), "indices/gone/shard-0.ndjson.partial")

	// The directory cannot be made.
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err = Run(t.Context(), es, repo, &Options{Interim: file})
	require.ErrorIs(t, err, syscall.ENOTDIR)
	require.ErrorContains(t, err, "interim directory")
}

// smallDisk is a Target with room for so many bytes, in all files together. Like file systems that find room late, it may say so
// when a file is closed only.
type smallDisk struct {
	Target
	left atomic.Int64
	late bool
}

func (d *smallDisk) Create(ctx context.Context, name string) (File, error) {
	f, err := d.Target.Create(ctx, name)
	return &smallFile{File: f, d: d}, err
}

type smallFile struct {
	File
	d *smallDisk
}

func (f *smallFile) Write(p []byte) (int, error) {
	left := f.d.left.Add(-int64(len(p)))
	if left >= 0 || f.d.late {
		return f.File.Write(p)
	}
	n, err := f.File.Write(p[:max(0, int64(len(p))+left)])
	return n, errors.Join(err, &os.PathError{Op: "write", Path: "shard", Err: syscall.ENOSPC})
}

func (f *smallFile) Close() error {
	if f.d.left.Load() < 0 {
		return errors.Join(f.Abort(), &os.PathError{Op: "fsync", Path: "shard", Err: syscall.ENOSPC})
	}
	return f.File.Close()
}

// A disk that is full, wherever that shows: an error that names the directory, nothing left on it, the snapshots of before as they were, and
// once there is room the backup succeeds.
func TestInterimDirectoryIsFull(t *testing.T) {
	for name, late := range map[string]bool{"at a write": false, "at the end of a file": true} {
		t.Run(name, func(t *testing.T) {
			h, es := cluster(t)
			repo := repositorytest.New(t)
			first, err := Run(t.Context(), es, repo, nil)
			require.NoError(t, err)
			before := contents(t, repoFiles(t, repo, first.Snapshot), first.Manifest)
			index(t, es, "b", 500, 510, "new")
			dir := t.TempDir()
			full, o := 0, &Options{Interim: dir}
			var res *Result
			for room := int64(0); res == nil; room = room*3/2 + 100 {
				o.disk = func(to Target) Target {
					d := &smallDisk{Target: to, late: late}
					d.left.Store(room)
					return d
				}
				res, err = Run(t.Context(), es, repo, o)
				if err == nil {
					break
				}
				full++
				require.ErrorIs(t, err, syscall.ENOSPC)
				require.ErrorContains(t, err, "interim directory "+dir)
				require.ErrorContains(t, err, "is full, it must have room for all documents")
				require.Empty(t, dumpsIn(t, dir))
				require.Zero(t, h.OpenContexts())
				for s, err := range repo.Snapshots(t.Context(), repository.Filter{}) {
					require.NoError(t, err)
					require.Equal(t, first.Snapshot.ID, s.ID)
				}
				require.Equal(t, before, contents(t, repoFiles(t, repo, first.Snapshot), first.Manifest))
			}
			require.Greater(t, full, 5)
			require.False(t, res.Resumed)
			requireSame(t, es, repo, res, "a", "b", "empty")
			require.Empty(t, dumpsIn(t, dir))

			// A dump that waits for its upload needs no more room.
			store := &fullStore{Backend: mem.New(), full: true}
			other := repositorytest.Init(t, store)
			_, err = Run(t.Context(), es, other, &Options{Interim: dir})
			require.ErrorIs(t, err, errStoreFull)
			store.full = false
			o.disk = func(to Target) Target { return &smallDisk{Target: to, late: late} }
			res, err = Run(t.Context(), es, other, o)
			require.NoError(t, err)
			require.True(t, res.Resumed)
			requireSame(t, es, other, res, "a", "b", "empty")
		})
	}
}
