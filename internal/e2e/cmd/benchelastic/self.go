package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"runtime/pprof"
	"sync/atomic"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/internal/e2e/measure"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/local"
	"github.com/escrow-backup/escrow/restore"
)

const password = "benchmark"

// self does one task in this process, and prints its outcome.
func self(ctx context.Context, arg string) (err error) {
	var t task
	if err := json.Unmarshal([]byte(arg), &t); err != nil {
		return err
	}
	t.Times = max(t.Times, 1)
	var out any
	switch t.Do {
	case "read":
		out, err = t.read(ctx)
	case "backup":
		out, err = t.backup(ctx)
	case "restore":
		out, err = t.restore(ctx)
	case "bulk":
		out, err = t.bulk(ctx)
	case "stages":
		out, err = t.stages(ctx)
	default:
		err = errors.New("unknown task")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", t.Do, err)
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

// timed measures do, with a CPU profile if one is asked for.
func (t *task) timed(do func() error) (c cost, err error) {
	if t.Profile != "" {
		f, err := os.Create(t.Profile)
		if err != nil {
			return c, err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return c, errors.Join(err, f.Close())
		}
		defer func() {
			pprof.StopCPUProfile()
			err = errors.Join(err, f.Close())
		}()
	}
	c, err = timed(t.PID, func() error {
		for range t.Times {
			if err := do(); err != nil {
				return err
			}
		}
		return nil
	})
	n := float64(t.Times)
	return cost{c.Wall / n, c.CPU / n, c.Server / n}, err
}

// client counts the bytes of answers.
type client struct {
	elastictransport.Interface
	bytes atomic.Int64
}

func (t *task) client() (*client, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, err
	}
	c, err := elastictransport.NewClient(elastictransport.WithURLs(u))
	return &client{Interface: c}, err
}

func (c *client) Perform(r *http.Request) (*http.Response, error) {
	res, err := c.Interface.Perform(r)
	if err == nil {
		res.Body = &countedBody{res.Body, &c.bytes}
	}
	return res, err
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	return n, err
}

// open opens the repository, or makes it.
func (t *task) open(ctx context.Context) (*repository.Repo, error) {
	be, err := local.New(t.Repo)
	if err != nil {
		return nil, err
	}
	// Opening the repository does not count, nor how long each write waits for the locks of others, which is 200 ms by default.
	o := &repository.Options{ScryptN: 1024, LockSettle: time.Millisecond}
	r, err := repository.Open(ctx, be, password, o)
	if errors.Is(err, fs.ErrNotExist) {
		r, err = repository.Init(ctx, be, password, o)
	}
	return r, err
}

func (t *task) backup(ctx context.Context) (*outcome, error) {
	r, err := t.open(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the process ends
	es, err := t.client()
	if err != nil {
		return nil, err
	}
	out := &outcome{}
	// Every 30th increment reads everything, unless it is told not to. It costs what a full backup does.
	o := &backup.Options{Indices: []string{t.Index}, Sections: []string{"none"}, VerifyEvery: -1, Concurrency: t.Concurrency}
	out.Cost, err = t.timed(func() error {
		res, err := backup.Run(ctx, es, r, o)
		if err == nil {
			out.Docs, out.Bytes, out.Added = res.DocumentsRead, res.Bytes, res.BytesAdded
		}
		return err
	})
	out.Wire = es.bytes.Load() / int64(t.Times)
	return out, err
}

// files is the newest snapshot.
func (t *task) files(ctx context.Context) (*repository.Repo, fs.FS, error) {
	r, err := t.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	s, err := r.Snapshot(ctx, "latest")
	if err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	files, err := r.FS(ctx, s)
	return r, files, err
}

func (t *task) restore(ctx context.Context) (*outcome, error) {
	r, files, err := t.files(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the process ends
	es, err := t.client()
	if err != nil {
		return nil, err
	}
	out := &outcome{}
	out.Cost, err = t.timed(func() error {
		plan, err := restore.NewPlan(ctx, files, es, &restore.Options{IndicesAtOnce: t.AtOnce, Rename: []restore.Rename{{From: t.Index, To: t.To}}})
		if err != nil {
			return err
		}
		res, err := plan.Run(ctx)
		out.Docs = res.Documents
		return err
	})
	return out, err
}

// documents opens the documents of the newest snapshot's shards, which stand in it as the body of a bulk request.
func (t *task) documents(ctx context.Context) (*repository.Repo, io.Reader, error) {
	r, files, err := t.files(ctx)
	if err != nil {
		return nil, nil, err
	}
	var all []io.Reader
	for n := range 2 {
		f, err := files.Open(layout.DocumentsPath(t.Index, n))
		if err != nil {
			return nil, nil, errors.Join(err, r.Close())
		}
		all = append(all, f)
	}
	return r, io.MultiReader(all...), nil
}

// bulk writes bodies that are made before into an index, and refreshes it.
func (t *task) bulk(ctx context.Context) (*outcome, error) {
	r, docs, err := t.documents(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // the process ends
	out := &outcome{}
	var bodies [][]byte
	var body []byte
	in := bufio.NewReaderSize(docs, 1<<20)
	for t.Docs == 0 || out.Docs < int64(t.Docs) {
		for range 2 { // an action and a source
			var line []byte
			if line, err = in.ReadSlice('\n'); err != nil {
				break
			}
			body = append(body, line...)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, err
		}
		out.Docs++
		if len(body) >= t.Size {
			bodies = append(bodies, bytes.Clone(body))
			body = body[:0]
		}
	}
	if len(body) > 0 {
		bodies = append(bodies, body)
	}
	out.Cost, err = t.timed(func() error {
		g, gctx := errgroup.WithContext(ctx)
		g.SetLimit(t.Concurrency)
		for _, b := range bodies {
			g.Go(func() error { return bulk(gctx, t.URL+"/"+t.To, b) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
		return call(ctx, "POST", t.URL+"/"+t.To+"/_refresh", "", nil)
	})
	return out, err
}

// stages is the CPU seconds that the stages of a backup take alone on the bytes of the newest snapshot: what is in its documents files and in its
// ids files, without reading from the server.
func (t *task) stages(ctx context.Context) (float64, error) {
	r, files, err := t.files(ctx)
	if err != nil {
		return 0, err
	}
	defer func() { _ = r.Close() }() // the process ends
	sum := 0.0
	for _, name := range []func(index string, shard int) string{layout.DocumentsPath, layout.IDsPath} {
		path := filepath.Join(filepath.Dir(t.Repo), "documents")
		size, err := t.join(files, name, path)
		if err != nil {
			return 0, err
		}
		all, err := measure.Stages(path)
		if err := errors.Join(err, os.Remove(path)); err != nil {
			return 0, err
		}
		for _, s := range all {
			// Documents are not cut by the chunker, and do not come from a file.
			if s.Backup && s.Once == 0 && s.Name != "chunker" && s.Name != "read and copy" {
				sum += s.PerGiB * float64(size) / (1 << 30)
			}
		}
	}
	return sum, nil
}

// join writes a file of each shard to path, and returns their size.
func (t *task) join(files fs.FS, name func(index string, shard int) string, path string) (size int64, err error) {
	out, err := os.Create(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	for n := range 2 {
		in, err := files.Open(name(t.Index, n))
		if err != nil {
			return 0, err
		}
		copied, err := io.Copy(out, in)
		if err := errors.Join(err, in.Close()); err != nil {
			return 0, err
		}
		size += copied
	}
	return size, nil
}
