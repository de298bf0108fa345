package repository_test

import (
	"context"
	"fmt"
	"io/fs"
	"log"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// open makes a repository with a snapshot of two files. Leave ScryptN at 0 for real ones.
func open(ctx context.Context) *repository.Repo {
	r, err := repository.Init(ctx, mem.New(), "secret", &repository.Options{ScryptN: 16})
	if err != nil {
		log.Fatal(err)
	}
	_, err = r.Write(ctx, repository.Header{Tags: []string{"example"}}, func(ctx context.Context, w *repository.Writer) error {
		for _, name := range []string{"notes/a.txt", "notes/b.txt"} {
			f, err := w.Create(name)
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f, "this is %s\n", name); err != nil {
				return err
			}
			if err := f.Close(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		log.Fatal(err)
	}
	return r
}

func ExampleRepo_Write() {
	ctx := context.Background()
	r, err := repository.Init(ctx, mem.New(), "secret", &repository.Options{ScryptN: 16})
	if err != nil {
		log.Fatal(err)
	}
	defer r.Close()
	s, err := r.Write(ctx, repository.Header{}, func(ctx context.Context, w *repository.Writer) error {
		id, err := w.SaveBlob(ctx, []byte("one piece, "))
		if err != nil {
			return err
		}
		f, err := w.Create("file")
		if err != nil {
			return err
		}
		// A blob may be used as often as you like; it is stored once.
		if err := f.Append(id, id); err != nil {
			return err
		}
		if _, err := f.Write([]byte("and the rest")); err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
		log.Fatal(err)
	}
	fsys, err := r.FS(ctx, s)
	if err != nil {
		log.Fatal(err)
	}
	p, err := fs.ReadFile(fsys, "file")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s\nnew data blobs: %d\n", p, s.Summary.DataBlobs)
	// Output:
	// one piece, one piece, and the rest
	// new data blobs: 2
}

func ExampleRepo_FS() {
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
	err = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		fmt.Println(name, d.IsDir())
		return err
	})
	if err != nil {
		log.Fatal(err)
	}
	// Output:
	// . true
	// notes true
	// notes/a.txt false
	// notes/b.txt false
}

func ExampleRepo_Snapshots() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	for s, err := range r.Snapshots(ctx, repository.Filter{Tags: []string{"example"}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Paths, s.Tags, s.Summary.TotalFilesProcessed, "files")
	}
	// Output:
	// [/] [example] 2 files
}

func ExampleRepo_Check() {
	ctx := context.Background()
	r := open(ctx)
	defer r.Close()
	problems := 0
	for p, err := range r.Check(ctx, &repository.CheckOptions{ReadData: true}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p)
		problems++
	}
	fmt.Println("problems:", problems)
	// Output:
	// problems: 0
}
