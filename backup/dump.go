package backup

import (
	"context"
	"io"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"

	"github.com/escrow-backup/escrow/layout"
)

// Target is where Dump writes. Create may be called concurrently.
type Target interface {
	// Create begins a file. Its name is slash-separated and valid for io/fs.
	Create(ctx context.Context, name string) (File, error)
}

// File is one file of a Target. It is used by one goroutine at a time. Close makes it complete, and says whether that
// succeeded; Abort drops it, so that no short file ever looks complete. One of them is called, once.
type File interface {
	io.WriteCloser
	Abort() error
}

// Dump backs up into any Target, without increments. The manifest is written last: a Target without one holds no backup.
func Dump(ctx context.Context, es elastictransport.Interface, t Target, o *Options) (*layout.Manifest, error) {
	j, err := newJob(ctx, es, o)
	if err != nil {
		return nil, err
	}
	if err := j.run(ctx, targetOutput{t}); err != nil {
		return nil, err
	}
	j.progress.done()
	return j.manifest, nil
}
