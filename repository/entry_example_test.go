package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// A repository in a directory, made and opened again.
func ExampleOpen() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }() // it is only an example's
	b, err := local.New(filepath.Join(dir, "backups"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = b.Close() }() // it holds nothing open
	made, err := repository.Init(ctx, b, "secret", &repository.Options{ScryptN: 16})
	if err != nil {
		log.Fatal(err)
	}
	defer made.Close()
	r, err := repository.Open(ctx, b, "secret", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	fmt.Println("version", r.Version(), r.ID() == made.ID())
	_, err = repository.Open(ctx, b, "guess", nil)
	fmt.Println(err)
	// Output:
	// version 2 true
	// open repository: wrong password (keys tried: 1)
}

// Any part of a file can be read, without what lies before it.
func ExampleFile() {
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
	f, err := fsys.Open("notes/a.txt")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	file := f.(*repository.File)
	part := make([]byte, 5)
	if _, err := file.ReadAt(part, 8); err != nil {
		log.Fatal(err)
	}
	if _, err := file.Seek(-6, io.SeekEnd); err != nil {
		log.Fatal(err)
	}
	var end bytes.Buffer
	if _, err := file.WriteTo(&end); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%q %q in %d blob\n", part, end.String(), len(file.Blobs()))
	// Output:
	// "notes" "a.txt\n" in 1 blob
}

// A file of known pieces: each is a blob, and one that is there already is only named.
func ExampleFileWriter_Cut() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	for range 2 {
		s, err := r.Write(ctx, repository.Header{}, func(_ context.Context, w *repository.Writer) error {
			f, err := w.Create("log")
			if err != nil {
				return err
			}
			for _, line := range []string{"one\n", "two\n"} {
				if _, err := io.WriteString(f, line); err != nil {
					return err
				}
				if err := f.Cut(); err != nil {
					return err
				}
			}
			fmt.Println("there before:", w.HasBlob(repository.Hash([]byte("an unknown line\n"))))
			return f.Close()
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("new blobs:", s.Summary.DataBlobs)
	}
	// Output:
	// there before: false
	// new blobs: 2
	// there before: false
	// new blobs: 0
}

func ExampleRepo_Resolve() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	for _, ref := range []string{"latest:/notes/a.txt", "latest~1"} {
		s, name, err := r.Resolve(ctx, ref)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(name, s.Tags)
	}
	// Output:
	// notes/a.txt [example]
	// find snapshot "latest~1": there are 1 snapshots: file does not exist
}

func ExampleGroupBy_Group() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	var all []*repository.Snapshot
	for s, err := range r.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			log.Fatal(err)
		}
		all = append(all, s)
	}
	for _, g := range (repository.GroupByPaths | repository.GroupByTags).Group(all) {
		fmt.Printf("group%v: %d\n", g.GroupKey, len(g.Snapshots))
	}
	// Output:
	// group paths ["/"] tags ["example"]: 1
}

// A second password, for as long as somebody needs it.
func ExampleRepo_AddKey() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	id, err := r.AddKey(ctx, "another secret", &repository.KeyOptions{Username: "kim", Hostname: "laptop"})
	if err != nil {
		log.Fatal(err)
	}
	k, err := r.Key(ctx, id.String())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(k.Username, k.Hostname, k.InUse)
	fmt.Println(r.RemoveKey(ctx, id.String()))
	// Output:
	// kim laptop false
	// <nil>
}

func ExampleRepo_Migrate() {
	ctx := context.Background()
	r, err := repository.Init(ctx, mem.New(), "secret", &repository.Options{Version: 1, ScryptN: 16})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	var kept []byte // better in a file: see Migrate
	err = r.Migrate(ctx, func(config []byte) error {
		kept = config
		return nil
	})
	fmt.Println(r.Version(), len(kept) > 0, err)
	// Output:
	// 2 true <nil>
}

func ExampleRepo_PlanForgetIDs() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	plan, err := r.PlanForgetIDs(ctx, s.ID)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("removes", plan.Removes())
	if err := r.Forget(ctx, plan); err != nil {
		log.Fatal(err)
	}
	_, err = r.Snapshot(ctx, "latest")
	fmt.Println(err)
	// Output:
	// removes 1
	// find snapshot "latest": there are 0 snapshots: file does not exist
}

// A tenth of the packs each night: after ten nights, everything was read.
func ExampleParseSubset() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	part, err := repository.ParseSubset("3/10")
	if err != nil {
		log.Fatal(err)
	}
	problems := 0
	for p, err := range r.Check(ctx, &repository.CheckOptions{ReadSubset: part}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p)
		problems++
	}
	fmt.Println(part, problems)
	// Output:
	// 3/10 0
}

func ExampleRepo_Stats() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	stats, err := r.Stats(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Files, "files with", stats.Bytes, "bytes in", stats.Blobs, "blobs")
	fmt.Println(stats.CompressionRatio() > 1, stats.DedupRatio() > 0)
	// Output:
	// 2 files with 40 bytes in 4 blobs
	// true true
}
