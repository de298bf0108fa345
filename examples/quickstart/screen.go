package main

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// screen is what the person sees: results on standard output, bars on standard error.
type screen struct {
	out, err io.Writer
	colour   bool // standard output is a terminal that wants colour
	bars     bool // standard error is a terminal
	steps    int
	width    int // of the column of names
}

func newScreen(out, err io.Writer, env func(string) string) *screen {
	return &screen{out: out, err: err, width: 10, bars: terminal(err),
		colour: terminal(out) && env("NO_COLOR") == "" && env("TERM") != "dumb"}
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const (
	bold  = "1"
	dim   = "2"
	green = "32"
	cyan  = "36"
)

func (s *screen) paint(code, text string) string {
	if !s.colour || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}

func (s *screen) title(text string) {
	fmt.Fprintf(s.out, "\n  %s\n", s.paint(bold, text))
}

// step is one numbered paragraph.
type step struct {
	*screen
	began time.Time
}

func (s *screen) step(format string, args ...any) *step {
	s.steps++
	fmt.Fprintf(s.out, "\n  %s  %s\n", s.paint(cyan, strconv.Itoa(s.steps)), s.paint(bold, fmt.Sprintf(format, args...)))
	return &step{s, time.Now()}
}

func (s *step) row(name, text string) {
	fmt.Fprintf(s.out, "     %s %s\n", s.paint(dim, fmt.Sprintf("%-*s", s.width, name)), text)
}

// end closes the step with the time that it took and, where docs is not 0, how fast that was.
func (s *step) end(docs int64) {
	d := time.Since(s.began)
	text := seconds(d)
	if docs > 0 {
		text += fmt.Sprintf(", %s documents a second", thousands(int64(float64(docs)/max(d.Seconds(), 0.001))))
	}
	fmt.Fprintf(s.out, "     %s %s\n", s.paint(green, "✓"), s.paint(dim, text))
}

func (s *screen) done(d time.Duration) {
	fmt.Fprintf(s.out, "\n  %s\n", s.paint(bold+";"+green, "Everything is back, nothing is lost. It took "+seconds(d)+"."))
}

// restic says how to look at the repository.
func (s *screen) restic(path, prefix string) {
	fmt.Fprintf(s.out, "\n  The repository is kept in %s.\n  Look at it with restic:\n\n", path)
	for _, line := range []string{
		"export RESTIC_REPOSITORY=" + path + " RESTIC_PASSWORD=" + password,
		"restic snapshots",
		"restic ls latest",
		"restic dump latest /indices/" + prefix + "logs/shard-0.ndjson | head -2",
		"restic check --read-data",
	} {
		fmt.Fprintf(s.out, "    %s\n", s.paint(cyan, line))
	}
	fmt.Fprintln(s.out)
}

// bar shows how far a step has come; it is gone when the step is over. Without a terminal it does nothing.
type bar struct {
	b    *progressbar.ProgressBar
	what string
}

func (s *step) bar(what string) *bar {
	b := &bar{what: what}
	if s.bars {
		b.b = progressbar.NewOptions64(1,
			progressbar.OptionSetWriter(s.err),
			progressbar.OptionSetTheme(progressbar.Theme{Saucer: "█", SaucerPadding: "░"}),
			progressbar.OptionSetWidth(30),
			progressbar.OptionSetElapsedTime(false),
			progressbar.OptionSetPredictTime(false),
			progressbar.OptionThrottle(40*time.Millisecond),
			progressbar.OptionUseANSICodes(true),
		)
	}
	return b
}

func (b *bar) set(done, total int64) {
	if b.b == nil {
		return
	}
	total = max(total, done, 1)
	b.b.Describe(fmt.Sprintf("     %-17s %7s of %-7s", b.what, thousands(done), thousands(total)))
	if total != b.b.GetMax64() {
		b.b.ChangeMax64(total)
	}
	_ = b.b.Set64(done) // a bar that cannot be drawn must not stop anything
}

func (b *bar) close() {
	if b.b != nil {
		_ = b.b.Clear()
		b.b = nil
	}
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s" }

// thousands writes n with its thousands apart.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	var b strings.Builder
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

func size(n int64) string {
	switch {
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	}
	return fmt.Sprintf("%d B", n)
}

func percent(part, whole int64) string {
	return fmt.Sprintf("%.1f%%", 100*float64(part)/float64(max(whole, 1)))
}
