package repository

import (
	"crypto/sha256"
	"errors"
	"io"
	"math"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/internal/pack"
)

const (
	pageSize = 1 << 20
	// maxPackBlobs keeps headers and index files well under their limits, even if all blobs are tiny.
	maxPackBlobs = 16384
)

// pagePool gives pages of memory again, so that packs of any size share it and the garbage collector has little to do.
type pagePool chan []byte

func (p pagePool) get() []byte {
	select {
	case b := <-p:
		return b[:0]
	default:
		return make([]byte, 0, pageSize)
	}
}

func (p pagePool) put(pages [][]byte) {
	for _, b := range pages {
		select {
		case p <- b:
		default:
			return
		}
	}
}

// openPack is a pack in memory that blobs are added to. It is an io.ReaderAt for the backend.
type openPack struct {
	pool  pagePool
	pages [][]byte // all but the last are full
	blobs []pack.Blob
	size  int64
}

// fits reports whether another blob of n sealed bytes keeps the pack within limit. An empty pack takes any blob.
func (o *openPack) fits(n int, limit int64) bool {
	if len(o.blobs) == 0 {
		return true
	}
	header := int64(len(o.blobs)+1)*pack.MaxEntry + crypto.Overhead + pack.LengthSize
	return len(o.blobs) < maxPackBlobs && o.size+int64(n)+header <= limit && o.size <= math.MaxUint32-int64(n)
}

// add appends a sealed blob.
func (o *openPack) add(b pack.Blob, sealed []byte) {
	b.Offset, b.Length = uint32(o.size), uint32(len(sealed))
	o.blobs = append(o.blobs, b)
	o.write(sealed)
}

func (o *openPack) write(p []byte) {
	o.size += int64(len(p))
	for len(p) > 0 {
		last := len(o.pages) - 1
		if last < 0 || len(o.pages[last]) == pageSize {
			o.pages = append(o.pages, o.pool.get())
			last++
		}
		n := min(len(p), pageSize-len(o.pages[last]))
		o.pages[last] = append(o.pages[last], p[:n]...)
		p = p[n:]
	}
}

// finish appends the header and gives the pack's name.
func (o *openPack) finish(k *crypto.Key) ID {
	h := make([]byte, crypto.IVSize, crypto.Overhead+len(o.blobs)*pack.MaxEntry+pack.LengthSize)
	h = k.Seal(pack.AppendHeader(h, o.blobs))
	o.write(pack.AppendLength(h, len(h)))
	sum := sha256.New()
	for _, p := range o.pages {
		sum.Write(p) // never fails
	}
	return ID(sum.Sum(nil))
}

// ReadAt implements io.ReaderAt.
func (o *openPack) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("negative offset")
	}
	n := 0
	for n < len(p) && off < o.size {
		k := copy(p[n:], o.pages[off/pageSize][off%pageSize:])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// free gives the memory back.
func (o *openPack) free() {
	o.pool.put(o.pages)
	o.pages = nil
}
