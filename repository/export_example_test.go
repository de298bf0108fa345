package repository_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/repository"
)

// The files of a snapshot as a web site: any part of a file can be asked for.
func ExampleRepo_FS_http() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	fsys, err := r.FS(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.FS(fsys)))
	defer server.Close()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/notes/a.txt", nil)
	if err != nil {
		log.Fatal(err)
	}
	req.Header.Set("Range", "bytes=8-12")
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	p, err := io.ReadAll(res.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s %q\n", res.Status, p)
	// Output:
	// 206 Partial Content "notes"
}

// The files of a snapshot as a tar archive, and as a zip archive.
func ExampleRepo_FS_archive() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	fsys, err := r.FS(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	var tarball, zipped bytes.Buffer
	t := tar.NewWriter(&tarball)
	if err := t.AddFS(fsys); err != nil {
		log.Fatal(err)
	}
	if err := t.Close(); err != nil {
		log.Fatal(err)
	}
	z := zip.NewWriter(&zipped)
	if err := z.AddFS(fsys); err != nil {
		log.Fatal(err)
	}
	if err := z.Close(); err != nil {
		log.Fatal(err)
	}
	in := tar.NewReader(&tarball)
	for {
		h, err := in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("tar", h.Name, h.Size)
	}
	back, err := zip.NewReader(bytes.NewReader(zipped.Bytes()), int64(zipped.Len()))
	if err != nil {
		log.Fatal(err)
	}
	for _, f := range back.File {
		fmt.Println("zip", f.Name, f.UncompressedSize64)
	}
	// Output:
	// tar notes/ 0
	// tar notes/a.txt 20
	// tar notes/b.txt 20
	// zip notes/ 0
	// zip notes/a.txt 20
	// zip notes/b.txt 20
}

// A directory is backed up and restored; the next backup reads only what has changed since.
func ExampleWriter_AddFS() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	tmp, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(tmp) }() // it is only an example's
	from, to := filepath.Join(tmp, "from"), filepath.Join(tmp, "to")
	if err := os.MkdirAll(filepath.Join(from, "d"), 0o755); err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(from, "d/file"), []byte("text"), 0o640); err != nil {
		log.Fatal(err)
	}
	dir, err := repository.OpenDirFS(from)
	if err != nil {
		log.Fatal(err)
	}
	defer dir.Close()
	// For the next backup, set Header.Parent to this one's ID.
	s, err := r.Write(ctx, repository.Header{Paths: []string{from}}, func(ctx context.Context, w *repository.Writer) error {
		return w.AddFS(ctx, dir, nil)
	})
	if err != nil {
		log.Fatal(err)
	}
	res, err := r.RestoreDir(ctx, s, to, &repository.RestoreOptions{Verify: true})
	if err != nil {
		log.Fatal(err)
	}
	p, err := os.ReadFile(filepath.Join(to, "d/file"))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(res.Files, "file in", res.Dirs, "directory:", string(p))
	// Output:
	// 1 file in 1 directory: text
}

func ExampleRepo_ChangePassword() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	if _, err := r.ChangePassword(ctx, "new secret", nil); err != nil {
		log.Fatal(err)
	}
	for k, err := range r.Keys(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("in use:", k.InUse)
	}
	// Output:
	// in use: true
}

func ExampleRepo_Diff() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	one, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	two, err := r.Write(ctx, repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		f, err := w.Create("notes/c.txt")
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		log.Fatal(err)
	}
	for c, err := range r.Diff(ctx, one, two, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(c.Kind, c.Path)
	}
	stats, err := r.Stats(ctx, one, two)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Files, "files")
	// Output:
	// removed notes/a.txt
	// removed notes/b.txt
	// added notes/c.txt
	// 3 files
}

func ExampleRepo_Copy() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	dst := open(ctx)
	defer dst.Close()
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		res, err := r.Copy(ctx, dst, s)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("copied:", len(res.Copied), "skipped:", len(res.Skipped))
	}
	// Output:
	// copied: 1 skipped: 0
	// copied: 0 skipped: 1
}

func ExampleRepo_RepairIndex() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	p, err := r.PlanRepairIndex(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(p)
	if err := r.RepairIndex(ctx, p); err != nil {
		log.Fatal(err)
	}
	q, err := r.PlanRepairSnapshots(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(q)
	if _, err := r.RepairSnapshots(ctx, q, nil); err != nil {
		log.Fatal(err)
	}
	// Output:
	// nothing to repair
	// damaged snapshots: 0, sound: 1
}
