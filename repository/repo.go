package repository

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/escrow-backup/escrow/internal/chunker"
	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Repo is an open repository. All methods may be called concurrently.
type Repo struct {
	be    backend.Backend
	cache *cache // nil: none
	opt   Options
	key   *crypto.Key
	keyID atomic.Pointer[ID] // the key file that was opened
	cfg   config
	codec *codec

	indexTurn turn            // held while index files are listed and loaded
	indexes   map[string]bool // names of the index files in index
	index     atomic.Pointer[index.Index]

	splitter func() *chunker.Splitter // at the beginning of a chunk

	sealed sync.Pool           // of *[]byte, for blobs being opened
	ahead  *semaphore.Weighted // bytes that files being read may hold before they are asked for

	now         func() time.Time
	lockTiming  lockTiming
	indexLimits indexLimits
}

// readAhead bounds the memory of all prefetched blobs of a Repo.
const readAhead = 48 << 20

func newRepo(b backend.Backend, o Options, key *crypto.Key) (*Repo, error) {
	c, err := newCodec(o.Compression, cpus())
	if err != nil {
		return nil, err
	}
	r := &Repo{
		be: b, opt: o, key: key, codec: c, ahead: semaphore.NewWeighted(readAhead), now: time.Now,
		indexTurn:  newTurn(),
		lockTiming: defaultLockTiming, indexLimits: defaultIndexLimits,
	}
	r.index.Store(&index.Index{})
	template := sync.OnceValue(func() *chunker.Splitter { return chunker.NewSplitter(r.cfg.Polynomial) })
	r.splitter = func() *chunker.Splitter { return template().Fork() }
	return r, nil
}

// cpus is how many blobs are compressed or decompressed at once: each takes memory.
func cpus() int { return min(runtime.GOMAXPROCS(0), 8) }

// Close releases the handle, not the Backend, which its opener closes. No other call may be under way.
func (r *Repo) Close() error {
	r.codec.close()
	if r.cache != nil {
		return r.cache.close()
	}
	return nil
}

// openCache opens the cache that Options name. Without it, everything takes longer and nothing else.
func (r *Repo) openCache() {
	if r.opt.Cache == "" {
		return
	}
	c, err := openCache(r.opt.Cache, r.cfg.ID, r.opt.Logger)
	if err != nil {
		r.opt.Logger.Warn("cache cannot be used", "error", err)
		return
	}
	r.cache = c
	r.be = &cachedBackend{r.be, r}
}

// ID is the repository's own random id: 64 hexadecimal digits. Copies of a repository have the same.
func (r *Repo) ID() string { return r.cfg.ID }

// Version is the version of the repository's format: 1 or 2. In version 1 nothing is compressed.
func (r *Repo) Version() int { return int(r.cfg.Version) }
