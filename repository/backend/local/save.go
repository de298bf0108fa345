package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/internal/exact"
)

// tmpMark stands between a file's name and a random number in the name of a file that is being written. restic
// uses the same mark, and skips such names.
const tmpMark = "-tmp-"

// tmpAge is how long nothing must have been written to a temporary file before it counts as left behind. The
// largest file is written in minutes.
const tmpAge = 24 * time.Hour

// Save implements [backend.Backend].
func (b *Backend) Save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	return fail("save", h, b.save(ctx, h, body, size))
}

func (b *Backend) save(ctx context.Context, h backend.Handle, body io.ReaderAt, size int64) error {
	if err := b.check(ctx, h); err != nil {
		return err
	}
	name := b.file(h)
	switch _, err := os.Lstat(name); {
	case err == nil:
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	dir := filepath.Dir(name)
	m, err := b.ensureDir(dir)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, filepath.Base(name)+tmpMark+"*")
	if errors.Is(err, fs.ErrNotExist) {
		// Somebody removed the directory since we made it.
		b.forget(dir)
		if m, err = b.ensureDir(dir); err == nil {
			f, err = os.CreateTemp(dir, filepath.Base(name)+tmpMark+"*")
		}
	}
	if err != nil {
		return err
	}
	tmp := f.Name()
	if err := write(ctx, f, m, body, size); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	if err := move(tmp, name); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return syncDir(dir)
}

// write fills f, syncs and closes it.
func write(ctx context.Context, f *os.File, m modes, body io.ReaderAt, size int64) (err error) {
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
	}()
	if err := exact.Copy(ctx, f, body, size); err != nil {
		return err
	}
	// File systems without modes refuse this; the file is as good without.
	if err := f.Chmod(m.file); err != nil && !errors.Is(err, fs.ErrPermission) && !unsupported(err) {
		return err
	}
	if err := f.Sync(); err != nil && !unsupported(err) {
		return err
	}
	return nil
}

// unsupported reports whether the file system, rather than the file, is the reason for err.
func unsupported(err error) bool {
	return errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EINVAL)
}

// moveByLink gives the file at tmp the name name, in three ways, the best one that the file system has. A file
// that is already called name stays: the error then wraps fs.ErrExist.
func moveByLink(tmp, name string) error {
	err := os.Link(tmp, name)
	if err == nil {
		_ = os.Remove(tmp) // the file is in place; its second name is skipped by List, and removed in time
		return nil
	}
	if errors.Is(err, fs.ErrExist) {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	}
	if !errors.Is(err, fs.ErrPermission) && !unsupported(err) {
		return err
	}
	// No hard links here (FAT, some network and user-space file systems). What is left has a gap between the look and the
	// move; files are named by their content, so only two simultaneous initialisations could meet in it.
	if _, err := os.Lstat(name); err == nil {
		return &fs.PathError{Op: "create", Path: name, Err: fs.ErrExist}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(tmp, name)
}

// modes are the permissions of new files and directories.
type modes struct{ file, dir fs.FileMode }

// modesFor follows the config file, if there is one: a repository that its group may read stays so.
func modesFor(root string) modes {
	m := modes{file: 0o400, dir: 0o700}
	if fi, err := os.Stat(filepath.Join(root, "config")); err == nil && fi.Mode()&0o040 != 0 {
		m.file |= 0o040
		m.dir |= 0o070
	}
	return m
}

// ensureDir makes dir, which is the repository's directory or below it, and all that is above it, and makes their
// entries durable. Directories that this Backend has not seen before are synced whoever made them: the maker may have
// died, or not got to it yet.
func (b *Backend) ensureDir(dir string) (modes, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dirs[dir] {
		return b.mode, nil
	}
	if len(b.dirs) == 0 {
		b.mode = modesFor(b.path)
	}
	if err := b.ensureLocked(dir); err != nil {
		return modes{}, err
	}
	removeLeftovers(dir)
	return b.mode, nil
}

func (b *Backend) ensureLocked(dir string) error {
	if b.dirs[dir] {
		return nil
	}
	parent := filepath.Dir(dir)
	below := strings.HasPrefix(dir, b.path+string(filepath.Separator))
	if below {
		if err := b.ensureLocked(parent); err != nil {
			return err
		}
	}
	fi, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if !below && parent != dir {
			if err := b.ensureLocked(parent); err != nil {
				return err
			}
		}
		mode := b.mode.dir
		if err := os.Mkdir(dir, mode); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		fi, err = os.Stat(dir)
		if err == nil && below && fi.Mode().Perm() != mode {
			// The umask took bits that the group needs. Where it cannot be changed, the directory works all the same.
			_ = os.Chmod(dir, mode)
		}
	}
	if err != nil {
		return err
	}
	if !fi.IsDir() {
		return fmt.Errorf("%s: %w", dir, syscall.ENOTDIR)
	}
	if err := syncDir(parent); err != nil {
		return err
	}
	b.dirs[dir] = true
	return nil
}

// forget drops dir and what is above it from the directories known to exist.
func (b *Backend) forget(dir string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for ; b.dirs[dir]; dir = filepath.Dir(dir) {
		delete(b.dirs, dir)
	}
}

// removeLeftovers deletes temporary files that nobody can still be writing. It does what it can: a leftover costs
// space, never correctness. Ages are differences between times of the same file system, so that clocks that
// disagree do no harm.
func removeLeftovers(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	var now time.Time
	for _, e := range entries {
		base, _, ok := strings.Cut(e.Name(), tmpMark)
		if !ok || !e.Type().IsRegular() || (base != "config" && !backend.ValidName(base)) {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			continue
		}
		if now.IsZero() {
			if now, err = fileSystemTime(dir); err != nil {
				return
			}
		}
		if now.Sub(fi.ModTime()) > tmpAge {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

func fileSystemTime(dir string) (time.Time, error) {
	f, err := os.CreateTemp(dir, "config"+tmpMark+"*")
	if err != nil {
		return time.Time{}, err
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Close(), os.Remove(f.Name())); err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}
