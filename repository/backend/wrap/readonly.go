package wrap

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/escrow-backup/escrow/repository/backend"
)

// ReadOnly refuses Save and Remove with an error that wraps fs.ErrPermission. A repository is then opened without a lock.
func ReadOnly(b backend.Backend) backend.Backend { return readOnly{through{b}} }

type readOnly struct{ through }

var errReadOnly = fmt.Errorf("it is open for reading only: %w", fs.ErrPermission)

// Save implements [backend.Backend].
func (readOnly) Save(_ context.Context, h backend.Handle, _ io.ReaderAt, _ int64) error {
	return fail("save", h, errReadOnly)
}

// Remove implements [backend.Backend].
func (readOnly) Remove(_ context.Context, h backend.Handle) error {
	return fail("remove", h, errReadOnly)
}
