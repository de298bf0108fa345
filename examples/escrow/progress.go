package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/restore"
)

// How often a line of progress is written where there is no terminal.
const (
	plainEvery  = 10 * time.Second
	statusEvery = time.Second
)

// meter shows progress: a bar on a terminal, a line now and then elsewhere, status objects with --json.
type meter struct {
	operation string
	out       *output   // for status objects, nil without --json
	plain     io.Writer // for lines, nil without
	bar       *progressbar.ProgressBar
	last      time.Duration // elapsed when the last line was written
}

func (a *app) meter(operation string) *meter {
	m := &meter{operation: operation}
	switch {
	case a.quiet:
	case a.out.json:
		m.out = a.out
	case isTerminal(a.stderr):
		m.bar = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(a.stderr),
			progressbar.OptionSetDescription(operation),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
			progressbar.OptionSetWidth(24),
			progressbar.OptionSetPredictTime(false), // by the speed since the beginning, which says little
			progressbar.OptionThrottle(50*time.Millisecond),
			progressbar.OptionUseANSICodes(true),
		)
	default:
		m.plain = a.stderr
	}
	return m
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// status is one moment of an operation.
type status struct {
	MessageType string  `json:"message_type"`
	Operation   string  `json:"operation"`
	Index       string  `json:"index"`
	Indices     int     `json:"indices"`
	IndicesDone int     `json:"indices_done"`
	Docs        int64   `json:"documents"`
	DocsDone    int64   `json:"documents_done"`
	DocsReused  int64   `json:"documents_reused"`
	BytesDone   int64   `json:"bytes_done"`
	Elapsed     float64 `json:"seconds_elapsed"`
	Left        float64 `json:"seconds_left,omitempty"` // of a backup, once it can be said
	Uploaded    int64   `json:"bytes_uploaded,omitempty"`
	uploading   bool
}

func (m *meter) backup(p backup.Progress) {
	m.show(status{Index: p.Index, Indices: p.Indices, IndicesDone: p.IndicesDone, Docs: p.Docs, DocsDone: p.DocsDone,
		DocsReused: p.DocsReused, BytesDone: p.BytesDone, Left: p.Left.Seconds(), Uploaded: p.Uploaded, uploading: p.Uploading}, p.Elapsed, p.Done)
}

func (m *meter) restore(p restore.Progress) {
	m.show(status{Index: p.Index, Indices: p.Indices, IndicesDone: p.IndicesDone, Docs: p.Docs, DocsDone: p.DocsDone,
		BytesDone: p.BytesDone}, p.Elapsed, p.Done)
}

func (m *meter) show(s status, elapsed time.Duration, done bool) {
	s.MessageType, s.Operation, s.Elapsed = "status", m.operation, elapsed.Seconds()
	switch {
	case m.bar != nil:
		total := max(s.Docs, s.DocsDone, 1)
		m.bar.Describe(fmt.Sprintf("%s %d/%d indices, %s of %s documents, %s%s", m.operation, s.IndicesDone, s.Indices,
			thousands(s.DocsDone), thousands(total), size(s.BytesDone), s.rest()))
		if total != m.bar.GetMax64() {
			m.bar.ChangeMax64(total)
		}
		_ = m.bar.Set64(s.DocsDone) // a bar that cannot be drawn must not stop a backup
	case done:
	case m.out != nil && elapsed-m.last >= statusEvery:
		m.last = elapsed
		m.out.object(s)
	case m.plain != nil && elapsed-m.last >= plainEvery:
		m.last = elapsed
		fmt.Fprintf(m.plain, "%s: %s of %s, %d of %s, %s, %s%s\n", m.operation, thousands(s.DocsDone),
			count(max(s.Docs, s.DocsDone), "document", "documents"), s.IndicesDone,
			count(int64(s.Indices), "index", "indices"), size(s.BytesDone), took(elapsed), s.rest())
	}
}

// rest tells what comes after the documents read: the time left, or how much was uploaded.
func (s *status) rest() string {
	switch {
	case s.uploading:
		return ", uploaded " + size(s.Uploaded)
	case s.Left >= 1:
		return ", about " + took(time.Duration(s.Left*float64(time.Second))) + " left"
	}
	return ""
}

// close takes the bar off the terminal: results and errors follow.
func (m *meter) close() {
	if m.bar != nil {
		_ = m.bar.Clear()
		m.bar = nil
	}
}
