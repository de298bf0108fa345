package repository

import (
	"container/list"
	"sync"

	"github.com/escrow-backup/escrow/internal/pack"
)

// blobCache keeps the texts of the blobs last used. One that is being read is read once.
type blobCache struct {
	limit int

	mu     sync.Mutex
	held   int
	m      map[ID]*list.Element // of *cachedBlob
	recent list.List            // the last used first
}

type cachedBlob struct {
	id   ID
	once sync.Once
	p    []byte
	err  error
	size int // of p, 0 until it is read; under the cache's lock
}

// blob reads a data blob through the cache. The caller must not change it.
func (f *snapshotFS) blob(id ID) ([]byte, error) {
	c := &f.blobs
	c.mu.Lock()
	e, ok := c.m[id]
	if ok {
		c.recent.MoveToFront(e)
	} else {
		if c.m == nil {
			c.m = map[ID]*list.Element{}
		}
		e = c.recent.PushFront(&cachedBlob{id: id})
		c.m[id] = e
	}
	c.mu.Unlock()
	b := e.Value.(*cachedBlob)
	b.once.Do(func() {
		b.p, b.err = f.r.loadMoved(f.ctx, &f.ix, pack.Data, id, nil)
		c.mu.Lock()
		defer c.mu.Unlock()
		if b.err != nil {
			c.recent.Remove(e)
			delete(c.m, id)
			return
		}
		b.size = len(b.p)
		c.held += b.size
		c.evict(e)
	})
	return b.p, b.err
}

// evict drops what was used longest ago, but keeps keep.
func (c *blobCache) evict(keep *list.Element) {
	for e := c.recent.Back(); e != nil && c.held > c.limit; {
		next := e.Prev()
		if b := e.Value.(*cachedBlob); e != keep && b.size > 0 {
			c.held -= b.size
			c.recent.Remove(e)
			delete(c.m, b.id)
		}
		e = next
	}
}
