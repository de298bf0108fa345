package repository

import (
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/escrow-backup/escrow/internal/pack"
)

// unchanged reports whether the file is proven to be what it was.
func (a *adder) unchanged(n, old *node) bool {
	return old != nil && old.Type == typeFile && n.Inode != 0 && n.Inode == old.Inode && n.DeviceID == old.DeviceID &&
		n.Size == old.Size && n.ModTime.Equal(old.ModTime) && n.ChangeTime.Equal(old.ChangeTime) &&
		n.ChangeTime.Before(a.start.Add(-2*time.Second))
}

// held reports whether all that a file of the parent consists of is there, with the right length.
func (a *adder) held(old *node) bool {
	size := int64(0)
	for _, id := range old.Content {
		k, ok := a.w.size(pack.Data, id)
		if !ok {
			return false
		}
		size += k
	}
	return size == old.Size
}

func (a *adder) file(n *node, name string, old *node) (*node, error) {
	if a.unchanged(n, old) && a.held(old) {
		n.Content = old.Content
		if n.Content == nil {
			n.Content = []ID{}
		}
	} else if ok, err := a.read(n, name); !ok {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	count(old != nil, n.sameContent(old), &a.sum.FilesNew, &a.sum.FilesChanged, &a.sum.FilesUnmodified)
	a.sum.TotalFilesProcessed++
	a.sum.TotalBytesProcessed += n.Size
	return n, n.check()
}

// read stores what is in a file. It gives false if there is an error or the file is left out.
func (a *adder) read(n *node, name string) (bool, error) {
	file, err := a.fsys.Open(name)
	if err != nil {
		return false, a.unreadable(name, err)
	}
	defer func() { _ = file.Close() }() // read only
	fi, err := file.Stat()
	if err == nil && !a.is(n, fi) {
		err = fmt.Errorf("it was replaced by something else meanwhile: %w", fs.ErrInvalid)
	}
	if err != nil {
		return false, a.unreadable(name, err)
	}
	c := content{w: a.w, ctx: a.ctx}
	defer c.drop()
	buf := make([]byte, min(max(n.Size+1, 512), 128<<10)) // with room to see the end at once
	for {
		if err := a.w.live(a.ctx); err != nil {
			return false, err
		}
		k, rerr := file.Read(buf)
		if _, err := c.write(buf[:k]); err != nil {
			return false, err
		}
		if rerr == io.EOF {
			break
		}
		if rerr != nil {
			return false, a.unreadable(name, rerr)
		}
	}
	if n.Content, err = c.finish(); err != nil {
		return false, err
	}
	n.Size = c.size
	if n.Content == nil {
		n.Content = []ID{} // null means that it is no file
	}
	return true, nil
}

// is reports whether an open file is the one that was listed: opening follows links, also one that took the file's place.
func (a *adder) is(n *node, fi fs.FileInfo) bool {
	if !fi.Mode().IsRegular() {
		return false
	}
	at := attributesOf(fi)
	return at == nil || n.Inode == 0 || at.Inode == n.Inode && at.DeviceID == n.DeviceID
}
