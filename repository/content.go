package repository

import (
	"context"
	"slices"
	"sync"

	"github.com/escrow-backup/escrow/internal/chunker"
	"github.com/escrow-backup/escrow/internal/pack"
)

// content collects the bytes of one file as blobs. The goroutine that writes only cuts; each whole blob is hashed, looked up,
// compressed, encrypted and packed by a goroutine of its own, while the next one fills. w.saving bounds how many there are.
type content struct {
	w     *Writer
	ctx   context.Context // ends the saving, as does the Writer's
	split *chunker.Splitter
	buf   []byte // what is in no blob yet
	seen  int    // bytes of buf that split was told, all of one blob
	size  int64  // of the blobs before it

	run sync.WaitGroup // the blobs being saved
	mu  sync.Mutex
	ids []ID  // in the file's order; a blob being saved has its place already
	err error // the first one: the file lacks something
}

// lookAt is how many bytes are gathered before the splitter looks at them: it is fastest with many.
const lookAt = 256 << 10

// write appends p and says how much of it was taken.
func (c *content) write(p []byte) (int, error) {
	written := 0
	for written < len(p) {
		n := min(len(p)-written, c.seen+lookAt-len(c.buf))
		c.add(p[written : written+n])
		if len(c.buf) == c.seen+lookAt {
			if err := c.look(); err != nil {
				return written, err
			}
		}
		written += n
	}
	return written, nil
}

func (c *content) add(p []byte) {
	if need := len(c.buf) + len(p); need > cap(c.buf) {
		short := c.buf
		c.buf = append(c.w.texts.get(need), short...)
		c.w.texts.put(short)
	}
	c.buf = append(c.buf, p...)
}

// look saves what the splitter cuts off.
func (c *content) look() error {
	if c.split == nil {
		c.split = c.w.r.splitter()
	}
	for c.seen < len(c.buf) {
		n, cut := c.split.Next(c.buf[c.seen:])
		c.seen += n
		if cut {
			if err := c.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut ends the blob here.
func (c *content) cut() error {
	if err := c.look(); err != nil || c.seen == 0 {
		return err
	}
	c.split.Reset()
	return c.save()
}

// save begins to save what was seen as a blob. It waits for one of those being saved if there are enough of them. Its error
// may be that of an earlier blob.
func (c *content) save() error {
	select {
	case c.w.saving <- struct{}{}:
	case <-c.ctx.Done():
		return context.Cause(c.ctx)
	case <-c.w.ctx.Done():
		return context.Cause(c.w.ctx)
	}
	text, rest := c.buf[:c.seen], c.buf[c.seen:]
	c.buf, c.seen = nil, 0
	if len(rest) > 0 {
		c.add(rest)
	}
	c.size += int64(len(text))
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.ids)
	c.ids = append(c.ids, ID{})
	c.run.Add(1)
	c.w.saves.Go(func() {
		defer c.run.Done()
		id, err := c.w.save(c.ctx, pack.Data, text)
		c.w.texts.put(text)
		<-c.w.saving
		c.mu.Lock()
		defer c.mu.Unlock()
		c.ids[i] = id
		if c.err == nil {
			c.err = err
		}
	})
	return c.err
}

// append appends stored blobs of size bytes in all.
func (c *content) append(ids []ID, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ids = append(c.ids, ids...)
	c.size += size
}

// finish saves the rest, waits until all is saved, and gives the blobs.
func (c *content) finish() ([]ID, error) {
	err := c.cut()
	c.run.Wait()
	if c.err != nil {
		err = c.err
	}
	return c.ids, err
}

// drop gives up what is in no blob yet. Those being saved are not waited for: Write does that.
func (c *content) drop() {
	if c.buf != nil {
		c.w.texts.put(c.buf)
		c.buf, c.seen = nil, 0
	}
}

// textSizes are the sizes of memory for texts. Few blobs are longer than the second, and hardly any is longer than the third; the last has room
// for the longest, and for what is gathered before it is cut off.
var textSizes = [...]int{chunker.MinSize, 4 * chunker.MinSize, 8 * chunker.MinSize, chunker.MaxSize + lookAt}

// textPool keeps memory for texts between blobs, a channel for each of textSizes.
type textPool [len(textSizes)]chan []byte

// newTextPool keeps n of the sizes that are used often, two of the next, and none of the largest.
func newTextPool(n int) textPool {
	return textPool{make(chan []byte, n), make(chan []byte, n), make(chan []byte, 2), make(chan []byte)}
}

// get returns an empty slice with room for n bytes.
func (p *textPool) get(n int) []byte {
	for i, size := range textSizes {
		if n <= size {
			select {
			case b := <-p[i]:
				return b
			default:
				return make([]byte, 0, size)
			}
		}
	}
	return make([]byte, 0, n)
}

// put takes back what get returned.
func (p *textPool) put(b []byte) {
	if i := slices.Index(textSizes[:], cap(b)); i >= 0 {
		select {
		case p[i] <- b[:0]:
		default:
		}
	}
}
