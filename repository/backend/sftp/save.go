package sftp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
	"time"

	"github.com/pkg/sftp"

	"github.com/escrow-backup/escrow/repository/backend"
)

// tmpMark stands between a file's name and a random text in the name of a file that is being written. restic skips such
// names.
const tmpMark = "-tmp-"

// tmpAge is how long nothing must have been written to a temporary file before it counts as left behind. The largest file
// is written in minutes.
const tmpAge = 24 * time.Hour

// requests is how many of 32 KiB are under way at once when a file is written.
const requests = 64

// Save implements [backend.Backend].
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	err := b.check(ctx, h)
	if err == nil && size < 0 {
		err = fmt.Errorf("size %d: %w", size, fs.ErrInvalid)
	}
	if err == nil {
		err = b.do(ctx, func(s *session) error { return b.save(s, b.file(h), &bodyReader{ctx: ctx, body: body, size: size}) })
	}
	return fail("save", h, err)
}

func (b *Backend) save(s *session, name string, body *bodyReader) error {
	switch _, err := s.Lstat(name); {
	case err == nil:
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	dir := path.Dir(name)
	m, err := b.ensureDir(s, dir)
	if err != nil {
		return err
	}
	f, err := createTemp(s, name)
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed the directory since we made it.
		b.forget()
		if m, err = b.ensureDir(s, dir); err == nil {
			f, err = createTemp(s, name)
		}
	}
	if err != nil {
		return err
	}
	if err := write(s, f, m, body); err != nil {
		_ = s.Remove(f.Name()) // else the next Save of another day does
		return err
	}
	if err := move(s, f.Name(), name); err != nil {
		_ = s.Remove(f.Name())
		return err
	}
	return syncDir(s, dir)
}

func createTemp(s *session, name string) (*sftp.File, error) {
	// O_EXCL: a name that is taken, however unlikely, is not ours to write to.
	return s.OpenFile(name+tmpMark+rand.Text(), os.O_WRONLY|os.O_CREATE|os.O_EXCL)
}

// write fills f, syncs and closes it.
func write(s *session, f *sftp.File, m modes, body *bodyReader) (err error) {
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	// The library reads until the end, so the body says itself whether that came too early.
	n, err := f.ReadFromWithConcurrency(body, requests)
	switch {
	case body.err != nil:
		return body.err
	case err != nil:
		return err
	case n != body.size:
		return fmt.Errorf("%d bytes of %d were written: %w", n, body.size, io.ErrShortWrite)
	}
	// Servers without modes refuse this; the file is as good without.
	if err := f.Chmod(m.file); lost(err) {
		return err
	}
	if _, ok := s.HasExtension(fsync); ok {
		return f.Sync()
	}
	return nil
}

// fsync is the extension that makes files durable.
const fsync = "fsync@openssh.com"

// syncDir makes the entries of dir durable, where the server can: OpenSSH's opens directories like files.
func syncDir(s *session, dir string) error {
	if _, ok := s.HasExtension(fsync); !ok {
		return nil
	}
	f, err := s.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if lost(err) {
		return err
	}
	return nil // a directory that we may not read, or a server that does not sync them
}

// move gives the file at tmp the name name. A file that is already called name stays: the error then wraps fs.ErrExist.
func move(s *session, tmp, name string) error {
	exists := func() error {
		switch _, err := s.Lstat(name); {
		case err == nil:
			return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
		case !errors.Is(err, fs.ErrNotExist):
			return err
		}
		return nil
	}
	// The protocol has no code for a name that is taken, so every failure asks for a look. And servers exist whose rename
	// replaces files, so hard links come first.
	if _, ok := s.HasExtension("hardlink@openssh.com"); ok {
		err := s.Link(tmp, name)
		if err == nil {
			_ = s.Remove(tmp) // the file is in place; its second name is skipped by List, and removed in time
			return nil
		}
		if lost(err) {
			return err
		}
		if err := exists(); err != nil {
			return err
		}
	} else if err := exists(); err != nil {
		return err
	}
	err := s.Rename(tmp, name)
	if err == nil || lost(err) {
		return err
	}
	return errors.Join(exists(), err)
}

// modes are the permissions of new files and directories.
type modes struct{ file, dir fs.FileMode }

// ensureDir makes dir and all that is above it, removes what was left behind there, and returns the modes of new files.
func (b *Backend) ensureDir(s *session, dir string) (modes, error) {
	b.mu.Lock()
	m, known := b.mode, b.dirs[dir]
	b.mu.Unlock()
	if m == nil {
		// A repository that its group may read stays so.
		m = &modes{file: 0o400, dir: 0o700}
		fi, err := s.Stat(path.Join(b.cfg.Path, "config"))
		if err == nil && fi.Mode()&0o040 != 0 {
			m = &modes{file: 0o440, dir: 0o770}
		}
		if lost(err) {
			return modes{}, err
		}
		b.mu.Lock()
		b.mode = m
		b.mu.Unlock()
	}
	if known {
		return *m, nil
	}
	if err := b.makeDir(s, dir, *m); err != nil {
		return modes{}, err
	}
	return *m, removeLeftovers(s, dir)
}

func (b *Backend) makeDir(s *session, dir string, m modes) error {
	b.mu.Lock()
	known := b.dirs[dir]
	b.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	fi, err := s.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if parent != dir && parent != "." {
			if err := b.makeDir(s, parent, m); err != nil {
				return err
			}
		}
		made := s.Mkdir(dir)
		if fi, err = s.Stat(dir); err != nil {
			return errors.Join(made, err)
		}
		if made == nil {
			// Mkdir leaves the mode to the server. Where it cannot be changed, the directory works all the same.
			if err := s.Chmod(dir, m.dir); lost(err) {
				return err
			}
		}
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s: %w", dir, syscall.ENOTDIR)
	}
	// Whoever made it may have died, or not got to it yet.
	if err := syncDir(s, parent); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dirs[dir] = true
	return nil
}

// forget drops what is known of directories.
func (b *Backend) forget() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.dirs)
}

// removeLeftovers deletes temporary files that nobody can still be writing. It does what it can: a leftover costs space,
// never correctness. Ages are differences between times of the server, so that clocks that disagree do no harm.
func removeLeftovers(s *session, dir string) error {
	entries, err := s.ReadDir(dir)
	if err != nil {
		return only(err)
	}
	var now time.Time
	for _, e := range entries {
		base, _, ok := strings.Cut(e.Name(), tmpMark)
		if !ok || !e.Mode().IsRegular() || (base != "config" && !backend.ValidName(base)) {
			continue
		}
		if now.IsZero() {
			if now, err = serverTime(s, dir); err != nil {
				return only(err)
			}
		}
		if now.Sub(e.ModTime()) > tmpAge {
			if err := s.Remove(path.Join(dir, e.Name())); lost(err) {
				return err
			}
		}
	}
	return nil
}

// only returns err if the connection is lost: what else it says stops nobody.
func only(err error) error {
	if lost(err) {
		return err
	}
	return nil
}

func serverTime(s *session, dir string) (time.Time, error) {
	f, err := createTemp(s, path.Join(dir, "config"))
	if err != nil {
		return time.Time{}, err
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Close(), s.Remove(f.Name())); err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}

// Remove implements [backend.Backend].
func (b *Backend) Remove(ctx context.Context, h backend.Handle) error {
	err := b.check(ctx, h)
	if err == nil {
		name := b.file(h)
		err = b.do(ctx, func(s *session) error {
			if err := s.Remove(name); err != nil {
				return err
			}
			return syncDir(s, path.Dir(name))
		})
	}
	return fail("remove", h, err)
}

// bodyReader reads exactly size bytes, and fails when the context ends.
type bodyReader struct {
	ctx  context.Context
	body io.ReaderAt
	size int64
	off  int64
	err  error // what prevented reading
}

func (r *bodyReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		r.err = context.Cause(r.ctx)
		return 0, r.err
	}
	if r.off == r.size {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), r.size-r.off)]
	n, err := r.body.ReadAt(p, r.off)
	r.off += int64(n)
	if n == len(p) {
		return n, nil
	}
	// An io.ReaderAt that stops early says why; only EOF needs a better name.
	if err == nil || errors.Is(err, io.EOF) {
		err = fmt.Errorf("body has %d bytes, not %d: %w", r.off, r.size, io.ErrUnexpectedEOF)
	}
	r.err = err
	return n, err
}
