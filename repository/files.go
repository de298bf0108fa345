package repository

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// maxFile bounds the stored size of the files that are read whole.
var maxFile = map[backend.FileType]int64{
	backend.Config: 1 << 20, backend.Key: 1 << 20, backend.Lock: 1 << 20, backend.Snapshot: 64 << 20, backend.Index: 256 << 20,
}

// readFile reads a whole file, and checks that its name is its SHA-256.
func readFile(ctx context.Context, b backend.Backend, h backend.Handle) ([]byte, error) {
	rc, err := b.Load(ctx, h, 0, -1)
	if err != nil {
		return nil, err
	}
	p, err := io.ReadAll(io.LimitReader(rc, maxFile[h.Type]+1))
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("load %v: %w", h, err)
	}
	if int64(len(p)) > maxFile[h.Type] {
		return nil, fmt.Errorf("load %v: larger than %d bytes", h, maxFile[h.Type])
	}
	if h.Type != backend.Config && Hash(p).String() != h.Name {
		return nil, fmt.Errorf("load %v: %w: its SHA-256 is not its name", h, ErrDamaged)
	}
	return p, nil
}

// readRange reads n bytes from off into buf, which it grows as needed.
func readRange(ctx context.Context, b backend.Backend, h backend.Handle, off, n int64, buf []byte) ([]byte, error) {
	if int64(cap(buf)) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	rc, err := b.Load(ctx, h, off, n)
	if err != nil {
		return nil, err
	}
	_, err = io.ReadFull(rc, buf)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, fmt.Errorf("load %v: %w", h, err)
	}
	return buf, nil
}

// loadFile reads, opens and decompresses an encrypted file.
func (r *Repo) loadFile(ctx context.Context, h backend.Handle) ([]byte, error) {
	p, err := readFile(ctx, r.be, h)
	if err != nil {
		return nil, err
	}
	if p, err = r.key.Open(p); err != nil {
		return nil, fmt.Errorf("load %v: %w: %w", h, ErrDamaged, err)
	}
	if h.Type == backend.Config || r.cfg.Version < 2 {
		return p, nil
	}
	if p, err = r.codec.openFile(p); err != nil {
		return nil, fmt.Errorf("load %v: %w", h, err)
	}
	return p, nil
}

// saveFile compresses, seals and stores the JSON text of a file, and gives its name.
func (r *Repo) saveFile(ctx context.Context, t backend.FileType, text []byte) (ID, error) {
	buf := make([]byte, crypto.IVSize, len(text)/2+crypto.Overhead+64)
	if t != backend.Config && r.cfg.Version >= 2 {
		buf = r.codec.enc.EncodeAll(text, append(buf, zstdFile))
	} else {
		buf = append(buf, text...)
	}
	buf = r.key.Seal(buf)
	id := Hash(buf)
	h := backend.Handle{Type: t}
	if t != backend.Config {
		h.Name = id.String()
	}
	return id, save(ctx, r.be, h, bytes.NewReader(buf), int64(len(buf)))
}

// save stores a file. One that is named by its content and exists already is most likely from an attempt that seemed to fail and
// had arrived. That it arrived whole is not a matter of faith.
func save(ctx context.Context, b backend.Backend, h backend.Handle, body io.ReaderAt, size int64) error {
	err := b.Save(ctx, h, body, size)
	if errors.Is(err, fs.ErrExist) && h.Type != backend.Config {
		return verifyStored(ctx, b, h)
	}
	return err
}

// verifyStored returns an error unless the stored file has the SHA-256 that is its name.
func verifyStored(ctx context.Context, b backend.Backend, h backend.Handle) error {
	rc, err := b.Load(ctx, h, 0, -1)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.Copy(sum, rc)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	switch {
	case err != nil:
		return fmt.Errorf("load %v: %w", h, err)
	case ID(sum.Sum(nil)).String() != h.Name:
		return fmt.Errorf("save %v: there is a file of this name with another content: %w", h, ErrDamaged)
	}
	return nil
}
