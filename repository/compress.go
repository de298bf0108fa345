package repository

import (
	"errors"
	"fmt"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxBlob bounds what a blob of any program may decompress to. Blobs of files have at most 8 MiB; those of very large
	// directories can have more.
	maxBlob = 512 << 20
	// maxUnpacked bounds what a file other than a pack may decompress to.
	maxUnpacked = 512 << 20

	zstdFile = 2 // the first byte of a compressed index, lock or snapshot
)

// codec compresses and decompresses. It is safe for concurrent use.
type codec struct {
	enc     *zstd.Encoder
	blob    *zstd.Decoder // writes no more than the capacity it is given
	general *zstd.Decoder
}

func newCodec(level Compression, concurrency int) (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level.level()), zstd.WithEncoderCRC(false),
		zstd.WithWindowSize(512<<10), zstd.WithEncoderConcurrency(concurrency), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	blob, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(concurrency), zstd.WithDecodeAllCapLimit(true),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	general, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked),
		zstd.WithDecoderLowmem(true))
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	return &codec{enc, blob, general}, nil
}

func (c *codec) close() {
	_ = c.enc.Close() // nothing was streamed
	c.blob.Close()
	c.general.Close()
}

// appendBlob appends p to dst, compressed if that makes it shorter, and says whether it is.
func (c *codec) appendBlob(dst, p []byte) ([]byte, bool) {
	start := len(dst)
	out := c.enc.EncodeAll(p, dst)
	if len(out)-start < len(p) {
		return out, true
	}
	return append(out[:start], p...), false
}

// openBlob appends the decompressed text, which must have the given length, to dst.
func (c *codec) openBlob(dst, p []byte, length int) ([]byte, error) {
	if cap(dst) < length {
		dst = make([]byte, 0, length)
	}
	out, err := c.blob.DecodeAll(p, dst[:0:length])
	if errors.Is(err, zstd.ErrDecoderClosed) {
		return nil, fmt.Errorf("repository: %w", ErrClosed)
	}
	if err != nil {
		return nil, fmt.Errorf("decompress: %w: %w", ErrDamaged, err)
	}
	if len(out) != length {
		return nil, fmt.Errorf("decompress: %w: %d bytes, want %d", ErrDamaged, len(out), length)
	}
	return out, nil
}

// openFile gives the JSON in an index, lock or snapshot file of a repository of version 2: as it is, or compressed.
func (c *codec) openFile(p []byte) ([]byte, error) {
	if len(p) == 0 {
		return nil, errors.New("empty file")
	}
	switch p[0] {
	case '{', '[':
		return p, nil
	case zstdFile:
		out, err := c.general.DecodeAll(p[1:], nil)
		if errors.Is(err, zstd.ErrDecoderClosed) {
			return nil, fmt.Errorf("repository: %w", ErrClosed)
		}
		if err != nil {
			return nil, fmt.Errorf("decompress: %w: %w", ErrDamaged, err)
		}
		return out, nil
	}
	return nil, fmt.Errorf("unknown encoding %d", p[0])
}
