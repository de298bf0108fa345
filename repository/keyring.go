package repository

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// KeyInfo describes a key: a copy of the master key that one password opens.
type KeyInfo struct {
	ID       ID
	Created  time.Time // zero if the program that made it did not say, as rustic
	Hostname string    // where it was made
	Username string    // who made it
	InUse    bool      // this Repo was opened with it
	Err      error     // why it cannot be used: the file is damaged. The fields but ID and InUse are then empty
}

// KeyOptions of AddKey and ChangePassword; nil and the zero value work.
type KeyOptions struct {
	Hostname string // default: os.Hostname
	Username string // default: $USER
}

// Keys yields the keys of the repository, in no particular order, also those that are damaged. It opens none, so it cannot
// tell whether a password opens them.
func (r *Repo) Keys(ctx context.Context) iter.Seq2[*KeyInfo, error] {
	return func(yield func(*KeyInfo, error) bool) {
		for fi, err := range r.be.List(ctx, backend.Key) {
			var k *KeyInfo
			if err == nil {
				k, err = r.keyInfo(ctx, fi.Handle)
			}
			if err != nil {
				yield(nil, fmt.Errorf("list keys: %w", err))
				return
			}
			if k != nil && !yield(k, nil) {
				return
			}
		}
	}
}

// Key finds one key, by its id or a prefix of it that no other has. The error wraps fs.ErrNotExist if there is none.
func (r *Repo) Key(ctx context.Context, ref string) (*KeyInfo, error) {
	h, err := r.findKeyFile(ctx, ref)
	var k *KeyInfo
	if err == nil {
		k, err = r.keyInfo(ctx, h)
	}
	if err == nil && k == nil {
		err = fmt.Errorf("it was removed meanwhile: %w", fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("find key %.64q: %w", ref, err)
	}
	return k, nil
}

// keyInfo gives nil for a key that was removed since it was listed.
func (r *Repo) keyInfo(ctx context.Context, h backend.Handle) (*KeyInfo, error) {
	id, err := ParseID(h.Name)
	if err != nil {
		return nil, err
	}
	k := &KeyInfo{ID: id, InUse: id == *r.keyID.Load()}
	text, err := readFile(ctx, r.be, h)
	switch {
	case backend.IsNotExist(err):
		return nil, nil
	case errors.Is(err, ErrDamaged):
		k.Err = err
		return k, nil
	case err != nil:
		return nil, err
	}
	f, err := decodeKeyFile(text)
	if err != nil {
		k.Err = fmt.Errorf("%v: %w", h, err)
		return k, nil
	}
	k.Created, k.Hostname, k.Username = f.Created, f.Hostname, f.Username
	return k, nil
}

// scrypt gives the costs of a new key.
func (o Options) scrypt() crypto.Params {
	if o.ScryptN == 0 {
		return crypto.Calibrate()
	}
	return crypto.Params{N: o.ScryptN, R: 8, P: 1}
}

// AddKey adds a key that pw opens, and proves that it does before it returns. All keys open the same data: whoever knows a
// password keeps access to what is stored so far, even after his key was removed, if he kept a copy of it.
func (r *Repo) AddKey(ctx context.Context, pw Password, o *KeyOptions) (ID, error) {
	var id ID
	err := r.locked(ctx, false, func(ctx context.Context, _ *heldLock) (err error) {
		id, err = r.newKey(ctx, pw, o)
		return err
	})
	if err != nil {
		return ID{}, fmt.Errorf("add key: %w", err)
	}
	return id, nil
}

// newKey stores a key and opens it. After a failure it removes what it may have stored: nobody would know that a password
// works that seemed to be refused.
func (r *Repo) newKey(ctx context.Context, pw Password, o *KeyOptions) (ID, error) {
	if pw == "" {
		return ID{}, fmt.Errorf("empty password: %w", fs.ErrInvalid)
	}
	made := keyFile{Created: r.now()}
	if o != nil {
		made.Hostname, made.Username = o.Hostname, o.Username
	}
	if made.Hostname == "" {
		made.Hostname = hostname()
	}
	if made.Username == "" {
		made.Username = username()
	}
	id, err := addKey(ctx, r.be, r.key, pw, r.opt.scrypt(), made)
	if id == (ID{}) {
		return ID{}, err
	}
	h := backend.Handle{Type: backend.Key, Name: id.String()}
	if err == nil {
		_, err = openKey(ctx, r.be, h, pw)
	}
	if err == nil {
		return id, nil
	}
	dctx, cancel := detached(ctx)
	defer cancel()
	if rerr := r.be.Remove(dctx, h); rerr != nil && !backend.IsNotExist(rerr) {
		err = fmt.Errorf("%w; the new key may be there and could not be removed: %w", err, rerr)
	}
	return ID{}, err
}

// RemoveKey removes a key, named by its id or a prefix of it that no other has. The key that the Repo was opened with stays,
// so there is always one left: the error then wraps fs.ErrPermission. It takes an exclusive lock, so that two processes
// cannot remove each other's keys.
//
// The master key stays what it is: a removed password must be taken for known to whoever had it and a copy of the key file.
func (r *Repo) RemoveKey(ctx context.Context, ref string) error {
	err := r.locked(ctx, true, func(ctx context.Context, l *heldLock) error {
		h, err := r.findKeyFile(ctx, ref)
		if err != nil {
			return err
		}
		return r.dropKey(ctx, l, h)
	})
	if err != nil {
		return fmt.Errorf("remove key %.64q: %w", ref, err)
	}
	return nil
}

func (r *Repo) findKeyFile(ctx context.Context, ref string) (backend.Handle, error) {
	ref = strings.ToLower(ref)
	if ref == "" {
		return backend.Handle{}, fmt.Errorf("no id given: %w", fs.ErrInvalid)
	}
	var found backend.Handle
	for fi, err := range r.be.List(ctx, backend.Key) {
		if err != nil {
			return backend.Handle{}, err
		}
		if !strings.HasPrefix(fi.Handle.Name, ref) || fi.Handle == found {
			continue
		}
		if found.Name != "" {
			return backend.Handle{}, fmt.Errorf("several keys begin so: %w", fs.ErrInvalid)
		}
		found = fi.Handle
	}
	if found.Name == "" {
		return backend.Handle{}, fmt.Errorf("no key has this id: %w", fs.ErrNotExist)
	}
	return found, nil
}

// dropKey removes a key if it is not the one in use and that one is still there. The caller holds an exclusive lock.
func (r *Repo) dropKey(ctx context.Context, l *heldLock, h backend.Handle) error {
	used := backend.Handle{Type: backend.Key, Name: r.keyID.Load().String()}
	if h == used {
		return fmt.Errorf("the repository was opened with it: %w", fs.ErrPermission)
	}
	if _, err := readFile(ctx, r.be, used); err != nil {
		return fmt.Errorf("the key that the repository was opened with is not there any more: %w", err)
	}
	if err := l.held(ctx); err != nil {
		return err
	}
	return r.be.Remove(ctx, h)
}

// ChangePassword adds a key that pw opens, then removes the key that the Repo was opened with. From then on the Repo counts
// as opened with the new key. If it fails, at least one of the two passwords works: the error says so if both do. It takes an
// exclusive lock.
func (r *Repo) ChangePassword(ctx context.Context, pw Password, o *KeyOptions) (ID, error) {
	var id ID
	err := r.locked(ctx, true, func(ctx context.Context, l *heldLock) (err error) {
		if id, err = r.newKey(ctx, pw, o); err != nil {
			return err
		}
		old := r.keyID.Swap(&id)
		h := backend.Handle{Type: backend.Key, Name: old.String()}
		if err := r.dropKey(ctx, l, h); err != nil && !backend.IsNotExist(err) {
			return fmt.Errorf("the new password works, but the old one may still do so: %w", err)
		}
		return nil
	})
	if err != nil {
		return ID{}, fmt.Errorf("change password: %w", err)
	}
	return id, nil
}
