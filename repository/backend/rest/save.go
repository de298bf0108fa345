package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// settleLimit is how long Save looks after what a failed upload left behind.
const settleLimit = 2 * time.Second

// Save implements [backend.Backend].
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.check(ctx, h); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	done, err := b.takeTurn(ctx, h)
	if err != nil {
		return err
	}
	defer done()
	if err := b.absent(ctx, h); err != nil {
		return err
	}
	if err := b.create(ctx, h); err != nil {
		return err
	}
	err = b.post(ctx, h, body, size)
	var status *StatusError
	if errors.As(err, &status) {
		// The server has read the request and refused it. Those that do not replace files refuse as they refuse strangers.
		if errors.Is(err, fs.ErrPermission) && errors.Is(b.absent(ctx, h), fs.ErrExist) {
			return fmt.Errorf("%w: %w", fs.ErrExist, withoutCause(status))
		}
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		b.settle(ctx, h, size)
	}
	return err
}

// withoutCause gives the text of e and nothing to be found by errors.Is.
func withoutCause(e *StatusError) error { return errors.New(e.text) }

// absent returns nil if there is no h, and an error wrapping fs.ErrExist if there is.
func (b *Backend) absent(ctx context.Context, h backend.Handle) error {
	_, err := b.ask(ctx, http.MethodHead, b.url(h))
	switch {
	case err == nil:
		return fs.ErrExist
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	return err
}

// create makes the server prepare for a repository, once, unless there is one already.
func (b *Backend) create(ctx context.Context, h backend.Handle) error {
	b.mu.Lock()
	created := b.created
	b.mu.Unlock()
	if created {
		return nil
	}
	config := backend.Handle{Type: backend.Config}
	absent := h == config // that was found out before
	if !absent {
		err := b.absent(ctx, config)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		absent = err == nil
	}
	if absent {
		if _, err := b.ask(ctx, http.MethodPost, b.base.String()+"?create=true"); err != nil {
			return fmt.Errorf("create repository: %w", err)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.created = true
	return nil
}

func (b *Backend) post(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	r := exact.NewBody(ctx, body, size)
	resp, err := b.request(ctx, http.MethodPost, b.url(h), r, size)
	bodyErr := r.Stop()
	switch {
	case err == nil:
		return drain(resp)
	case ctx.Err() == nil && bodyErr != nil:
		return bodyErr
	}
	return err
}

// settle sees to it that no part of a file is left by an upload that failed: servers that write in place remove it
// themselves when they notice that the body has ended early, which may take a moment, or may not happen. A file that is complete
// stays. It does what it can.
func (b *Backend) settle(ctx context.Context, h backend.Handle, size int64) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleLimit)
	defer cancel()
	for wait := 10 * time.Millisecond; ; wait *= 2 {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if found, err := b.size(ctx, h); err != nil || found == size {
			return
		}
		if _, err := b.ask(ctx, http.MethodDelete, b.url(h)); err != nil && h.Type != backend.Config {
			// rclone remembers what it was asked for until it lists, and would go on to find a file that is gone.
			_, _ = b.names(ctx, h.Type)
		}
	}
}

// takeTurn waits until no other Save of h is under way. done ends the turn.
func (b *Backend) takeTurn(ctx context.Context, h backend.Handle) (done func(), err error) {
	b.mu.Lock()
	t := b.saving[h]
	if t == nil {
		t = &turn{held: make(chan struct{}, 1)}
		b.saving[h] = t
	}
	t.users++
	b.mu.Unlock()
	leave := func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if t.users--; t.users == 0 {
			delete(b.saving, h)
		}
	}
	select {
	case t.held <- struct{}{}:
		return func() {
			<-t.held
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
