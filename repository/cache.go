package repository

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// cache is a directory with copies of what every operation reads: indexes, snapshots, and the packs of trees. They are stored as they
// are in the repository, so encrypted. Nothing depends on it: what it holds is used only if it has the right SHA-256 or MAC, and
// dropped otherwise; what cannot be written there is not. Several processes may share it: files appear whole, by a rename.
//
// It is laid out as "<id of the repository>/<index, snapshots or data>/<2 digits>/<name>".
type cache struct {
	root *os.Root
	log  *slog.Logger
	once sync.Once // for the first failure that is logged
	load singleflight.Group
	not  sync.Map // packs that are not kept, by name

	swept sync.Once // packs that no index names are removed once
}

// maxCachedPack bounds the packs that are kept: larger ones hold more than trees.
const maxCachedPack = 64 << 20

var cacheDirs = map[backend.FileType]string{backend.Index: "index", backend.Snapshot: "snapshots", backend.Pack: "data"}

// openCache opens the cache of a repository, and makes it if need be.
func openCache(dir, id string, log *slog.Logger) (*cache, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	top, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer func() { _ = top.Close() }() // a directory
	// So that programs that make backups leave it out: see bford.info/cachedir.
	tag, err := top.OpenFile("CACHEDIR.TAG", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = tag.WriteString("Signature: 8a477f597d28d172789f06886806bc55\n")
		err = errors.Join(err, tag.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if err := top.Mkdir(id, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	root, err := top.OpenRoot(id)
	if err != nil {
		return nil, err
	}
	return &cache{root: root, log: log.With("cache", filepath.Join(dir, id))}, nil
}

func (c *cache) close() error { return c.root.Close() }

// name gives where a file is kept, and false if it is none that is kept.
func (c *cache) name(h backend.Handle) (string, bool) {
	dir, ok := cacheDirs[h.Type]
	if _, err := ParseID(h.Name); !ok || err != nil {
		return "", false
	}
	return path.Join(dir, h.Name[:2], h.Name), true
}

// failed notes that the cache cannot be written. The first time, it says so.
func (c *cache) failed(err error) {
	if err != nil {
		c.once.Do(func() { c.log.Warn("cache cannot be written", "error", err) })
	}
}

// drop removes what is not, or no longer, in the repository.
func (c *cache) drop(name string) {
	if err := c.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.failed(err)
	}
}

// get gives a whole file, nil if it is not there as it should be.
func (c *cache) get(h backend.Handle) []byte {
	name, ok := c.name(h)
	if !ok {
		return nil
	}
	p, err := c.root.ReadFile(name)
	if err != nil {
		return nil
	}
	if Hash(p).String() != h.Name {
		c.log.Warn("damaged file in the cache is dropped", "file", h)
		c.drop(name)
		return nil
	}
	return p
}

// put keeps a file whose SHA-256 is its name.
func (c *cache) put(h backend.Handle, p []byte) {
	name, ok := c.name(h)
	if !ok {
		return
	}
	c.failed(c.write(name, p))
}

func (c *cache) write(name string, p []byte) error {
	if err := c.root.MkdirAll(path.Dir(name), 0o700); err != nil {
		return err
	}
	// A name of its own for each that writes the same file at once.
	temp := fmt.Sprintf("%s.%s.tmp", name, randomID().Short())
	f, err := c.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(p)
	if err = errors.Join(err, f.Close()); err == nil {
		if err = c.root.Rename(temp, name); errors.Is(err, fs.ErrNotExist) {
			return nil // another process took it for the leftover of one that was killed
		}
	}
	if err != nil {
		c.drop(temp)
	}
	return err
}

// keep removes the files of a type that has does not know, and those of writers that were killed.
func (c *cache) keep(t backend.FileType, has func(name string) bool) {
	dirs, _ := fs.ReadDir(c.root.FS(), cacheDirs[t]) // without the directory, there is nothing
	for _, d := range dirs {
		dir := path.Join(cacheDirs[t], d.Name())
		files, _ := fs.ReadDir(c.root.FS(), dir) // another process may tidy up, too
		for _, f := range files {
			if !has(f.Name()) {
				c.drop(path.Join(dir, f.Name()))
			}
		}
	}
}

// keepPacks removes packs that the index does not name. It does so once: the others go next time.
func (c *cache) keepPacks(ix *index.Index) {
	c.swept.Do(func() {
		held, err := fs.Glob(c.root.FS(), cacheDirs[backend.Pack]+"/*/*")
		if err != nil || len(held) == 0 {
			return
		}
		gone := map[string]bool{}
		for _, name := range held {
			gone[path.Base(name)] = true
		}
		for id := range ix.Packs() {
			delete(gone, ID(id).String())
		}
		c.keep(backend.Pack, func(name string) bool { return !gone[name] })
	})
}

// cachedTree reads a tree through the cache, and gives nil if that does not work: then who reads it directly learns why.
func (r *Repo) cachedTree(ctx context.Context, loc index.Location, buf []byte) []byte {
	c := r.cache
	h := packHandle(loc.Pack)
	name, _ := c.name(h)
	open := func(sealed []byte) []byte {
		p, err := r.openBlob(loc.Blob, sealed, buf)
		if err != nil {
			c.log.Warn("damaged file in the cache is dropped", "file", h)
			c.drop(name)
			return nil
		}
		return p
	}
	if f, err := c.root.Open(name); err == nil {
		sealed := make([]byte, loc.Length)
		_, err = f.ReadAt(sealed, int64(loc.Offset))
		_ = f.Close() // read only
		if err != nil && !errors.Is(err, io.EOF) {
			return nil
		}
		if p := open(sealed); p != nil {
			return p
		}
	}
	if _, not := c.not.Load(h.Name); not {
		return nil
	}
	var got singleflight.Result
	select {
	case got = <-c.load.DoChan(h.Name, func() (any, error) { return r.cachePack(ctx, h), nil }):
	case <-ctx.Done():
		return nil
	}
	p := got.Val.([]byte)
	if end := int64(loc.Offset) + int64(loc.Length); end <= int64(len(p)) {
		return open(bytes.Clone(p[loc.Offset:end])) // opening overwrites it
	}
	return nil
}

// cachePack reads a whole pack and keeps it. It gives nil if that does not work.
func (r *Repo) cachePack(ctx context.Context, h backend.Handle) []byte {
	fi, err := r.be.Stat(ctx, h)
	if err != nil {
		return nil
	}
	if fi.Size > maxCachedPack {
		r.cache.not.Store(h.Name, true)
		return nil
	}
	p, err := readRange(ctx, r.be, h, 0, fi.Size, nil)
	if err != nil {
		return nil
	}
	if Hash(p).String() != h.Name {
		r.cache.not.Store(h.Name, true) // it may be damaged, but not all of it
		return nil
	}
	r.cache.put(h, p)
	return p
}

// uncached marks a context for operations that must see what the repository holds.
type uncached struct{}

func withoutCache(ctx context.Context) context.Context {
	return context.WithValue(ctx, uncached{}, true)
}

func (r *Repo) useCache(ctx context.Context) bool {
	return r.cache != nil && ctx.Value(uncached{}) == nil
}

// cachedBackend keeps indexes and snapshots in the cache. A Load of what another process removed may still succeed until the next
// List: who must know looks with withoutCache.
type cachedBackend struct {
	backend.Backend
	r *Repo
}

// Load implements backend.Backend.
func (b *cachedBackend) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if off != 0 || n >= 0 || h.Type != backend.Index && h.Type != backend.Snapshot || !b.r.useCache(ctx) {
		return b.Backend.Load(ctx, h, off, n)
	}
	p := b.r.cache.get(h)
	if p == nil {
		var err error
		if p, err = readFile(ctx, b.Backend, h); err != nil {
			return nil, err
		}
		b.r.cache.put(h, p)
	}
	return io.NopCloser(bytes.NewReader(p)), nil
}

// Save implements backend.Backend.
func (b *cachedBackend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.Backend.Save(ctx, h, body, size); err != nil || h.Type != backend.Index && h.Type != backend.Snapshot {
		return err
	}
	p := make([]byte, size)
	if _, err := body.ReadAt(p, 0); err == nil || errors.Is(err, io.EOF) {
		b.r.cache.put(h, p)
	}
	return nil
}

// List implements backend.Backend. What it does not find is dropped from the cache.
func (b *cachedBackend) List(ctx context.Context, t backend.FileType) iter.Seq2[backend.FileInfo, error] {
	if t != backend.Index && t != backend.Snapshot {
		return b.Backend.List(ctx, t)
	}
	return func(yield func(backend.FileInfo, error) bool) {
		there := map[string]bool{}
		for fi, err := range b.Backend.List(ctx, t) {
			there[fi.Handle.Name] = true
			if !yield(fi, err) || err != nil {
				return
			}
		}
		b.r.cache.keep(t, func(name string) bool { return there[name] })
	}
}
