package measure

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Log makes JSON objects as a web server logs them, the same for the same seed.
type Log struct {
	r     *rand.Rand
	words []string
	at    time.Time
	count int
}

// NewLog returns a Log whose messages have so many words.
func NewLog(seed uint64, count int) *Log {
	l := &Log{r: rand.New(rand.NewPCG(1, 2)), words: make([]string, 4000), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), count: count}
	for i := range l.words {
		l.words[i] = fmt.Sprintf("w%x", l.r.Uint32N(1<<20))
	}
	if seed != 0 {
		l.r = rand.New(rand.NewPCG(seed, 2))
	}
	return l
}

var levels = []string{"info", "info", "info", "warn", "error"}

// Append appends an object, which ends with what more gives.
func (l *Log) Append(b []byte, more string) []byte {
	r := l.r
	l.at = l.at.Add(time.Duration(r.IntN(2000)) * time.Microsecond)
	b = fmt.Appendf(b, `{"@timestamp":%q,"level":%q,"host":"web-%d","status":%d,"bytes":%d,"path":"/%s/%s","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","trace":"%016x","message":"`,
		l.at.Format(time.RFC3339Nano), levels[r.IntN(len(levels))], r.IntN(40), 200+r.IntN(5)*100, r.IntN(100000), l.words[r.IntN(200)], l.words[r.IntN(4000)], r.Uint64())
	for range l.count {
		b = append(append(b, l.words[int(float64(len(l.words))*r.Float64()*r.Float64())]...), ' ')
	}
	return append(append(append(b, '"'), more...), '}')
}

// Lines writes a Log's objects into a file, a line each.
func Lines(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	l := NewLog(0, 40)
	var line []byte
	for n := int64(0); n < size; n += int64(len(line)) {
		line = append(l.Append(line[:0], ""), '\n')
		if _, err := w.Write(line); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(w.Flush(), f.Close())
}
