package swift

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strings"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// Save implements [backend.Backend].
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.check(ctx, h); err != nil {
		return err
	}
	// The server's condition holds only for what it had when the upload began: at least the calls of one process never meet.
	done, err := b.saving.Take(ctx, h)
	if err != nil {
		return err
	}
	defer done()
	// The first of two passes over the body also finds a body that is short or cannot be read, before anything is sent.
	hash := md5.New()
	if err := exact.Copy(ctx, hash, backend.Unpaced(body), size); err != nil {
		return err
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	switch _, err := b.size(ctx, h); {
	case err == nil:
		return fs.ErrExist
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	err = b.put(ctx, h, body, size, sum)
	if errors.Is(err, fs.ErrNotExist) {
		if err := b.createContainer(ctx); err != nil {
			return fmt.Errorf("create container %q: %w", b.cfg.Container, err)
		}
		err = b.put(ctx, h, body, size, sum)
	}
	return err
}

func (b *Backend) put(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64, sum string) error {
	answer, err := b.ask(ctx, request{
		method: http.MethodPut,
		path:   b.path(b.name(h)),
		header: map[string]string{"Content-Type": "application/octet-stream", "ETag": sum, "If-None-Match": "*"},
		body:   body,
		size:   size,
		want:   http.StatusCreated, // 200 is what something else says
	})
	if err != nil {
		return err
	}
	if stored := strings.Trim(answer.Get("ETag"), `"`); !strings.EqualFold(stored, sum) {
		return fmt.Errorf("the server says that it stored %q, not the content whose MD5 is %s", stored, sum)
	}
	return nil
}

// createContainer creates the container. Whoever else creates it at the same time does no harm.
func (b *Backend) createContainer(ctx context.Context) error {
	header := map[string]string{}
	if b.cfg.Policy != "" {
		header["X-Storage-Policy"] = b.cfg.Policy
	}
	_, err := b.ask(ctx, request{method: http.MethodPut, path: b.path(""), header: header})
	return err
}

// Remove implements [backend.Backend].
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		_, err = b.ask(ctx, request{method: http.MethodDelete, path: b.path(b.name(h)), want: http.StatusNoContent})
	}
	return fail("remove", h, err)
}
