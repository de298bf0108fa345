package measure

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// Lines writes JSON lines as a web server logs them, always the same.
func Lines(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	r := rand.New(rand.NewPCG(1, 2))
	levels := []string{"info", "info", "info", "warn", "error"}
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("w%x", r.Uint32N(1<<20))
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for n := int64(0); n < size; {
		at = at.Add(time.Duration(r.IntN(2000)) * time.Microsecond)
		k, err := fmt.Fprintf(w, `{"@timestamp":%q,"level":%q,"host":"web-%d","status":%d,"bytes":%d,"path":"/%s/%s","agent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36","trace":"%016x","message":"`,
			at.Format(time.RFC3339Nano), levels[r.IntN(len(levels))], r.IntN(40), 200+r.IntN(5)*100, r.IntN(100000), words[r.IntN(200)], words[r.IntN(4000)], r.Uint64())
		if err != nil {
			return err
		}
		n += int64(k)
		for range 40 {
			k, err := w.WriteString(words[int(float64(len(words))*r.Float64()*r.Float64())] + " ")
			if err != nil {
				return err
			}
			n += int64(k)
		}
		if _, err := w.WriteString("\"}\n"); err != nil {
			return err
		}
		n += 3
	}
	return errors.Join(w.Flush(), f.Close())
}
