package restore

import (
	"fmt"
	"io"
	"strconv"
	"sync"

	"github.com/escrow-backup/escrow/layout"
)

// RejectionLog writes rejected documents down, so that they can be looked at, put right and loaded again: one JSON object a line,
//
//	{"index":"logs","id":"7","routing":"a","status":400,"type":"document_parsing_exception","reason":"...","source":{...}}
//
// where routing stands only if there is one, and source is the document's as it lies in the backup, null for one that is deleted.
type RejectionLog struct {
	mu  sync.Mutex
	w   io.Writer
	n   int64
	err error
}

// NewRejectionLog returns a log that writes to w, a line with each call of Write.
func NewRejectionLog(w io.Writer) *RejectionLog { return &RejectionLog{w: w} }

// Add is for Options.Rejected.
func (l *RejectionLog) Add(r Rejection) {
	b := append(make([]byte, 0, len(r.Document.Source)+200), `{"index":`...)
	b = layout.AppendString(b, r.Document.Index)
	b = layout.AppendString(append(b, `,"id":`...), r.Document.ID)
	if r.Document.Routing != "" {
		b = layout.AppendString(append(b, `,"routing":`...), r.Document.Routing)
	}
	b = strconv.AppendInt(append(b, `,"status":`...), int64(r.Status), 10)
	b = layout.AppendString(append(b, `,"type":`...), r.Type)
	b = layout.AppendString(append(b, `,"reason":`...), r.Reason)
	b = append(b, `,"source":`...)
	if r.Document.Deleted {
		b = append(b, "null"...)
	} else {
		b = append(b, r.Document.Source...)
	}
	b = append(b, "}\n"...)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	if l.err != nil {
		return
	}
	n, err := l.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	l.err = err
}

// Err is the first error of writing. To be asked when the restore has ended: what could not be written down is not known otherwise.
func (l *RejectionLog) Err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return fmt.Errorf("write down what was refused: %w", l.err)
	}
	return nil
}

// Count is how many documents were added.
func (l *RejectionLog) Count() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}
