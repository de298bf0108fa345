package repository

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/index"
	"github.com/escrow-backup/escrow/internal/pack"
)

// MaxBlob is the largest blob that SaveBlob takes.
const MaxBlob = 8 << 20

// Writer collects the files of a snapshot. All methods may be called concurrently.
type Writer struct {
	r    *Repo
	lock *heldLock
	ctx  context.Context // a FileWriter is an io.Writer, whose methods take no context
	stop context.CancelCauseFunc
	time time.Time

	gate   sync.RWMutex // held for reading by every call of the user
	closed bool

	packers [2]packer // by type
	sealing chan []byte
	slots   chan struct{} // one for each upload
	uploads sync.WaitGroup
	pages   pagePool

	mu        sync.RWMutex
	own       [2]map[ID]uint32 // length of the blobs of this Writer that no stored index names yet
	unindexed []index.Pack     // stored packs that no stored index names
	waiting   int              // blobs in unindexed
	since     time.Time        // when the first of them was stored
	stats     WriteStats
	newData   int64
	newTrees  int64

	names  namespace
	parent *ID // the snapshot that AddFS compares with
	added  addedCounts

	saving chan struct{}  // one for each blob of a file that is being saved
	saves  sync.WaitGroup // the same
	texts  textPool
}

// packer fills one pack at a time.
type packer struct {
	turn turn // held also while waiting for a slot to upload
	open *openPack
}

// WriteStats says what a Writer stored.
type WriteStats struct {
	NewBlobs   int64 // data and tree blobs stored by this Writer
	NewBytes   int64 // their text
	AddedBytes int64 // what they take in the repository: compressed and encrypted
}

func newWriter(ctx context.Context, r *Repo, lock *heldLock, now time.Time) *Writer {
	w := &Writer{
		r: r, lock: lock, time: now,
		sealing: make(chan []byte, cpus()),
		saving:  make(chan struct{}, cpus()),
		texts:   newTextPool(cpus() + 1), // one more is being filled
		slots:   make(chan struct{}, r.opt.Concurrency),
		// Enough for the packs being filled and uploaded.
		pages:   make(pagePool, (r.opt.Concurrency+2)*(r.opt.PackSize/pageSize+1)),
		own:     [2]map[ID]uint32{{}, {}},
		packers: [2]packer{{turn: newTurn()}, {turn: newTurn()}},
	}
	w.ctx, w.stop = context.WithCancelCause(ctx)
	for range cap(w.sealing) {
		w.sealing <- nil
	}
	w.names.init()
	return w
}

// Stats says what was stored so far.
func (w *Writer) Stats() WriteStats {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.stats
}

// HasBlob reports whether SaveBlob would store nothing: the data blob is in the repository, named by a stored index, or
// this Writer saved it. Blobs of other Writers count from the moment on that an index names them.
func (w *Writer) HasBlob(id BlobID) bool {
	_, ok := w.size(pack.Data, id)
	return ok
}

// SaveBlob stores p as a data blob, unless HasBlob. It hashes, compresses and encrypts in the caller's goroutine: call it
// from several to use several processors. It blocks while as many packs as may be are being uploaded. p may have at most
// MaxBlob bytes, and is not kept. A blob that no file refers to in the end is garbage, which prune removes.
func (w *Writer) SaveBlob(ctx context.Context, p []byte) (BlobID, error) {
	if len(p) > MaxBlob {
		return BlobID{}, fmt.Errorf("save blob: %d bytes are more than %d", len(p), MaxBlob)
	}
	done, err := w.enter()
	if err != nil {
		return BlobID{}, fmt.Errorf("save blob: %w", err)
	}
	defer done()
	id, err := w.save(ctx, pack.Data, p)
	if err != nil {
		return BlobID{}, fmt.Errorf("save blob: %w", err)
	}
	return id, nil
}

// enter begins a call of the user. Write waits for its end before it commits.
func (w *Writer) enter() (func(), error) {
	w.gate.RLock()
	if w.closed {
		w.gate.RUnlock()
		return nil, fmt.Errorf("writer: %w", ErrClosed)
	}
	return w.gate.RUnlock, nil
}

// close refuses all further calls of the user, and waits for those under way and for the blobs that they left to be saved.
func (w *Writer) close() {
	w.gate.Lock()
	w.closed = true
	w.gate.Unlock()
	w.saves.Wait()
}

// size gives the length of a blob that this Writer may rely on.
func (w *Writer) size(t pack.Type, id ID) (int64, bool) {
	w.mu.RLock()
	n, ok := w.own[t][id]
	w.mu.RUnlock()
	if !ok {
		// Looked up second: a blob is added to the index before it leaves own.
		n, ok = w.r.index.Load().Size(t, id)
	}
	return int64(n), ok
}

// live returns the cause if ctx or the Writer has ended.
func (w *Writer) live(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.ctx.Err() != nil {
		return context.Cause(w.ctx)
	}
	return nil
}

// save stores a blob unless it is there.
func (w *Writer) save(ctx context.Context, t pack.Type, p []byte) (ID, error) {
	if err := w.live(ctx); err != nil {
		return ID{}, err
	}
	if len(p) > maxBlob-crypto.Overhead {
		return ID{}, fmt.Errorf("%v blob of %d bytes is larger than can be read again", t, len(p))
	}
	id := Hash(p)
	if _, ok := w.size(t, id); ok {
		return id, nil
	}
	var buf []byte
	select {
	case buf = <-w.sealing:
	case <-ctx.Done():
		return ID{}, context.Cause(ctx)
	case <-w.ctx.Done():
		return ID{}, context.Cause(w.ctx)
	}
	b := pack.Blob{ID: id, Type: t}
	buf = w.seal(buf, p, &b)
	err := w.pack(ctx, b, buf, len(p))
	if cap(buf) > 2*MaxBlob {
		buf = nil // the tree of a huge directory
	}
	w.sealing <- buf // has room: we took one out
	return id, err
}

// seal compresses and encrypts p into buf.
func (w *Writer) seal(buf, p []byte, b *pack.Blob) []byte {
	if cap(buf) < crypto.IVSize {
		buf = make([]byte, crypto.IVSize, 1<<20)
	}
	buf = buf[:crypto.IVSize]
	if !w.r.compresses(b.Type) {
		buf = append(buf, p...)
	} else {
		var compressed bool
		if buf, compressed = w.r.codec.appendBlob(buf, p); compressed {
			b.Plain = uint32(len(p))
		}
	}
	return w.r.key.Seal(buf)
}

// pack adds a sealed blob of n bytes of text to the open pack of its type.
func (w *Writer) pack(ctx context.Context, b pack.Blob, sealed []byte, n int) error {
	p := &w.packers[b.Type]
	// The Writer's own end frees the turn: send gives up then.
	if err := p.turn.take(ctx); err != nil {
		return err
	}
	defer p.turn.give()
	if _, ok := w.size(b.Type, b.ID); ok {
		return nil // another goroutine was faster
	}
	if p.open != nil && !p.open.fits(len(sealed), int64(w.r.opt.PackSize)) {
		if err := w.send(ctx, p); err != nil {
			return err
		}
	}
	if p.open == nil {
		p.open = &openPack{pool: w.pages}
	}
	p.open.add(b, sealed)

	w.mu.Lock()
	defer w.mu.Unlock()
	w.own[b.Type][b.ID] = uint32(n)
	w.stats.NewBlobs++
	w.stats.NewBytes += int64(n)
	w.stats.AddedBytes += int64(len(sealed) + b.EntrySize())
	if b.Type == pack.Data {
		w.newData++
	} else {
		w.newTrees++
	}
	return nil
}
