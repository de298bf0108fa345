package repository_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// random gives bytes that do not compress.
func random(seed uint64, n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(sha256.Sum256([]byte(fmt.Sprint(seed)))).Read(p)
	return p
}

func create(w *repository.Writer, name string, p []byte) error {
	f, err := w.Create(name)
	if err != nil {
		return err
	}
	if _, err := f.Write(p); err != nil {
		return err
	}
	return f.Close()
}

func TestRoundTrip(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	big := random(1, 14<<20)
	s, err := r.Write(t.Context(), repository.Header{Tags: []string{"x"}}, func(ctx context.Context, w *repository.Writer) error {
		require.NoError(t, create(w, "a/b/empty", nil))
		require.NoError(t, create(w, "a/big", big))
		require.NoError(t, create(w, "a/ü \"quoted\" & <html>\n", []byte("text")))
		return create(w, "z", bytes.Repeat([]byte("compressible "), 1<<18))
	})
	require.NoError(t, err)
	require.Equal(t, int64(4), s.Summary.FilesNew)
	require.Equal(t, int64(2), s.Summary.DirsNew)
	require.Equal(t, int64(14<<20+4+13<<18), s.Summary.TotalBytesProcessed)

	r = repositorytest.Reopen(t, b)
	s, err = r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	got, err := fs.ReadFile(fsys, "a/big")
	require.NoError(t, err)
	require.True(t, bytes.Equal(big, got))
	f, err := fsys.Open("a/big")
	require.NoError(t, err)
	var buf bytes.Buffer
	n, err := io.Copy(&buf, f)
	require.NoError(t, err)
	require.Equal(t, int64(len(big)), n)
	require.True(t, bytes.Equal(big, buf.Bytes()))
	part := make([]byte, 5<<20)
	_, err = f.(io.ReaderAt).ReadAt(part, 7<<20)
	require.NoError(t, err)
	require.True(t, bytes.Equal(big[7<<20:12<<20], part))
	require.NoError(t, f.Close())
	repositorytest.RequireClean(t, r)
}

func TestFSIsOne(t *testing.T) {
	r := repositorytest.New(t)
	s, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		f, err := w.Create("d/e/blobs")
		require.NoError(t, err)
		for i := range uint64(20) {
			_, err = f.Write(random(i, 1000))
			require.NoError(t, err)
			require.NoError(t, f.Cut())
		}
		require.NoError(t, create(w, "d/empty", nil))
		require.NoError(t, create(w, "d e", []byte("x")))
		return f.Close()
	})
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(fsys, "d/e/blobs", "d/empty", "d e"))
}

func TestUnchangedFilesTakeNoSpace(t *testing.T) {
	r := repositorytest.New(t)
	big := random(2, 5<<20)
	first := repositorytest.Write(t, r, map[string]string{"d/f": string(big), "d/g": "1"})
	second, err := r.Write(t.Context(), repository.Header{Parent: &first.ID}, func(ctx context.Context, w *repository.Writer) error {
		if err := create(w, "d/f", big); err != nil {
			return err
		}
		return create(w, "d/g", []byte("2"))
	})
	require.NoError(t, err)
	require.Equal(t, int64(1), second.Summary.DataBlobs)
	require.Equal(t, int64(1), second.Summary.FilesUnmodified)
	require.Equal(t, int64(1), second.Summary.FilesChanged)
	require.Equal(t, int64(1), second.Summary.DirsChanged)
	require.Zero(t, second.Summary.FilesNew)
	repositorytest.RequireClean(t, r)
}

func TestCutAndAppend(t *testing.T) {
	r := repositorytest.New(t)
	var ids []repository.BlobID
	_, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		for i := range 3 {
			id, err := w.SaveBlob(ctx, []byte{byte('a' + i)})
			require.NoError(t, err)
			require.True(t, w.HasBlob(id))
			ids = append(ids, id)
		}
		f, err := w.Create("f")
		require.NoError(t, err)
		_, err = f.Write([]byte("head"))
		require.NoError(t, err)
		require.ErrorIs(t, f.Append(ids[0], repository.Hash([]byte("nobody"))), fs.ErrNotExist)
		require.NoError(t, f.Append(ids...))
		_, err = f.Write([]byte("tail"))
		require.NoError(t, err)
		require.NoError(t, f.Cut())
		_, err = f.Write([]byte("end"))
		require.NoError(t, err)
		require.Equal(t, int64(14), f.Size())
		return f.Close()
	})
	require.NoError(t, err)
	s, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	f, err := fsys.Open("f")
	require.NoError(t, err)
	defer f.Close()
	var sizes []int64
	for _, b := range f.(*repository.File).Blobs() {
		sizes = append(sizes, b.Size)
	}
	require.Equal(t, []int64{4, 1, 1, 1, 4, 3}, sizes)
	got, err := io.ReadAll(f)
	require.NoError(t, err)
	require.Equal(t, "headabctailend", string(got))
	repositorytest.RequireClean(t, r)
}

func TestNamesClash(t *testing.T) {
	r := repositorytest.New(t)
	_, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		require.NoError(t, create(w, "d/f", nil))
		for _, name := range []string{"d", "d/f", "d/f/g"} {
			_, err := w.Create(name)
			require.ErrorIs(t, err, fs.ErrExist, name)
		}
		for _, name := range []string{"", ".", "/x", "a//b", "../a", "a\x00b"} {
			_, err := w.Create(name)
			require.ErrorIs(t, err, fs.ErrInvalid, name)
		}
		f, err := w.Create("e/f")
		require.NoError(t, err)
		require.NoError(t, f.Abort())
		require.ErrorIs(t, f.Close(), repository.ErrClosed)
		return create(w, "e", []byte("a file now"))
	})
	require.NoError(t, err)
}

func TestNothingIsCommitted(t *testing.T) {
	boom := errors.New("boom")
	for name, fn := range map[string]func(context.Context, *repository.Writer) error{
		"error": func(_ context.Context, w *repository.Writer) error {
			require.NoError(t, create(w, "f", []byte("x")))
			return boom
		},
		"open file": func(_ context.Context, w *repository.Writer) error {
			_, err := w.Create("left-open")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := mem.New()
			r := repositorytest.Init(t, b)
			_, err := r.Write(t.Context(), repository.Header{}, fn)
			require.Error(t, err)
			_, err = r.Snapshot(t.Context(), "latest")
			require.ErrorIs(t, err, fs.ErrNotExist)
			for range b.List(t.Context(), backend.Lock) {
				t.Error("a lock is left")
			}
			repositorytest.RequireClean(t, r)
		})
	}
}

func TestWriterAfterItsEnd(t *testing.T) {
	r := repositorytest.New(t)
	var left *repository.Writer
	_, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		left = w
		return nil
	})
	require.NoError(t, err)
	_, err = left.SaveBlob(t.Context(), []byte("late"))
	require.ErrorIs(t, err, repository.ErrClosed)
	_, err = left.Create("late")
	require.ErrorIs(t, err, repository.ErrClosed)
}

func TestConcurrentWriters(t *testing.T) {
	r := repositorytest.New(t)
	shared := random(3, 3<<20)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			_, err := r.Write(t.Context(), repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
				var files sync.WaitGroup
				for j := range 4 {
					files.Go(func() {
						if err := create(w, fmt.Sprintf("%d/%d", i, j), append(random(uint64(10*i+j), 1<<20), shared...)); err != nil {
							t.Error(err)
						}
					})
				}
				files.Wait()
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	n := 0
	for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
		require.NoError(t, err)
		fsys, err := r.FS(t.Context(), s)
		require.NoError(t, err)
		require.NoError(t, fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			var i, j int
			_, err = fmt.Sscanf(name, "%d/%d", &i, &j)
			require.NoError(t, err)
			p, err := fs.ReadFile(fsys, name)
			require.NoError(t, err)
			require.True(t, bytes.Equal(append(random(uint64(10*i+j), 1<<20), shared...), p))
			return nil
		}))
		n++
	}
	require.Equal(t, 4, n)
	repositorytest.RequireClean(t, r)
}

func TestManyDirectories(t *testing.T) {
	r := repositorytest.New(t)
	const n = 10000
	_, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
		for i := range n {
			if err := create(w, fmt.Sprintf("indices/%05d/f", i), []byte("x")); err != nil {
				return err
			}
		}
		return nil
	})
	require.NoError(t, err)
	s, err := r.Snapshot(t.Context(), "latest")
	require.NoError(t, err)
	fsys, err := r.FS(t.Context(), s)
	require.NoError(t, err)
	files, err := fs.Glob(fsys, "indices/*/f")
	require.NoError(t, err)
	require.Len(t, files, n)
}

func TestOpenErrors(t *testing.T) {
	b := mem.New()
	_, err := repository.Open(t.Context(), b, "x", nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "no repository here")
	repositorytest.Init(t, b)
	_, err = repository.Open(t.Context(), b, "wrong", nil)
	require.ErrorIs(t, err, repository.ErrWrongPassword)
	require.NotContains(t, err.Error(), "horse")
	_, err = repository.Init(t.Context(), b, "other", repositorytest.Options())
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = repository.Open(t.Context(), b, repositorytest.Password, &repository.Options{PackSize: 1})
	require.ErrorContains(t, err, "pack size")
	o := repositorytest.Options()
	o.NoLock = true
	r, err := repository.Open(t.Context(), b, repositorytest.Password, o)
	require.NoError(t, err)
	defer r.Close()
	_, err = r.Write(t.Context(), repository.Header{}, func(context.Context, *repository.Writer) error { return nil })
	require.ErrorIs(t, err, fs.ErrPermission)
}

func TestPasswordRedacts(t *testing.T) {
	const pw = repository.Password("hunter2")
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "%s %v %q %x %#v %+v %d", pw, pw, pw, pw, pw, struct{ P repository.Password }{pw}, pw)
	slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "p", pw, "q", struct{ P repository.Password }{pw})
	j, err := json.Marshal(map[string]any{"p": pw, "q": []repository.Password{pw}})
	require.NoError(t, err)
	buf.Write(j)
	require.NotContains(t, buf.String(), "hunter2")
	require.NotContains(t, buf.String(), "68756e74657232")
}

func TestFindSnapshot(t *testing.T) {
	r := repositorytest.New(t)
	var ids []repository.ID
	for i := range 20 {
		s, err := r.Write(t.Context(), repository.Header{Time: time.Unix(int64(1000-i), 0), Hostname: fmt.Sprint("h", i%2)},
			func(context.Context, *repository.Writer) error { return nil })
		require.NoError(t, err)
		ids = append(ids, s.ID)
	}
	s, err := r.Snapshot(t.Context(), "latest~2")
	require.NoError(t, err)
	require.Equal(t, ids[2], s.ID)
	s, err = r.Snapshot(t.Context(), ids[5].String()[:20])
	require.NoError(t, err)
	require.Equal(t, ids[5], s.ID)
	for _, ref := range []string{"latest~20", "latest2", "latest~-1", "", "xyz", repository.Hash(nil).String()} {
		_, err = r.Snapshot(t.Context(), ref)
		require.ErrorIs(t, err, fs.ErrNotExist, ref)
	}
	ambiguous := 0
	for _, id := range ids {
		if _, err := r.Snapshot(t.Context(), id.String()[:1]); err != nil {
			require.ErrorContains(t, err, id.String())
			ambiguous++
		}
	}
	require.Positive(t, ambiguous) // 20 ids, 16 digits
	n := 0
	for s, err := range r.Snapshots(t.Context(), repository.Filter{Hostname: "h1", Paths: []string{"/"}}) {
		require.NoError(t, err)
		require.Equal(t, "h1", s.Hostname)
		n++
	}
	require.Equal(t, 10, n)
}

func TestSnapshotKeepsUnknownFields(t *testing.T) {
	const text = `{"time":"2020-01-02T03:04:05.000000006+01:00","tree":"` +
		`0101010101010101010101010101010101010101010101010101010101010101","paths":["/"],"hostname":"h",` +
		`"summary":{"backup_start":"2020-01-02T03:04:05Z","backup_end":"2020-01-02T03:04:05Z","files_new":1,"files_changed":0,` +
		`"files_unmodified":0,"dirs_new":0,"dirs_changed":0,"dirs_unmodified":0,"data_blobs":0,"tree_blobs":0,"data_added":0,` +
		`"data_added_packed":0,"total_files_processed":0,"total_bytes_processed":0,"more":1.10},"delete":"NotSet","label":"x"}`
	var s repository.Snapshot
	require.NoError(t, json.Unmarshal([]byte(text), &s))
	require.Equal(t, int64(1), s.Summary.FilesNew)
	b, err := json.Marshal(&s)
	require.NoError(t, err)
	require.Equal(t, text, string(b))
}
