package repository_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// leftover says of the first file of a type that it exists already, and has made it so, with the bytes that change gives.
type leftover struct {
	backend.Backend
	typ    backend.FileType
	change func([]byte) []byte
	done   atomic.Bool
}

func (l *leftover) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if h.Type != l.typ || l.done.Swap(true) {
		return l.Backend.Save(ctx, h, body, size)
	}
	p, err := io.ReadAll(io.NewSectionReader(body, 0, size))
	if err != nil {
		return err
	}
	p = l.change(p)
	if err := l.Backend.Save(ctx, h, bytes.NewReader(p), int64(len(p))); err != nil {
		return err
	}
	return fmt.Errorf("save %v: %w", h, fs.ErrExist)
}

// That a name is taken proves nothing: what lies there must be what was to be stored.
func TestWhatExistsIsLookedAt(t *testing.T) {
	for _, typ := range []backend.FileType{backend.Pack, backend.Index, backend.Snapshot} {
		for name, c := range map[string]struct {
			change func([]byte) []byte
			whole  bool
		}{
			"whole":   {func(p []byte) []byte { return p }, true},
			"cut":     {func(p []byte) []byte { return p[:len(p)/2] }, false},
			"empty":   {func(p []byte) []byte { return nil }, false},
			"flipped": {func(p []byte) []byte { p[len(p)/2] ^= 1; return p }, false},
			"longer":  {func(p []byte) []byte { return append(p, 0) }, false},
		} {
			t.Run(typ.String()+" "+name, func(t *testing.T) {
				b := mem.New()
				repositorytest.Init(t, b)
				text := random(61, 10<<10)
				r := repositorytest.Reopen(t, &leftover{Backend: b, typ: typ, change: c.change})
				s, err := r.Write(t.Context(), repository.Header{}, func(_ context.Context, w *repository.Writer) error {
					return create(w, "dir/file", text)
				})
				if !c.whole {
					require.ErrorIs(t, err, repository.ErrDamaged)
					return
				}
				require.NoError(t, err)
				r = repositorytest.Reopen(t, b)
				require.NoError(t, verify(t.Context(), r, s.ID.String(), text))
				repositorytest.RequireClean(t, r)
			})
		}
	}
}
