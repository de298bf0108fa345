package repository

import (
	"context"
	"fmt"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Open opens the repository in b. The error wraps fs.ErrNotExist if there is none, and ErrWrongPassword if none of its keys
// opens with pw. Open writes nothing and takes no lock: it reads the keys and the config only, which nobody changes.
func Open(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	r, err := open(ctx, b, pw, o)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return r, nil
}

func open(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	opt, err := o.complete()
	if err != nil {
		return nil, err
	}
	sealed, err := readFile(ctx, b, backend.Handle{Type: backend.Config})
	if err != nil {
		if backend.IsNotExist(err) {
			return nil, fmt.Errorf("there is no repository here: %w", err)
		}
		return nil, err
	}
	key, id, err := findKey(ctx, b, pw, sealed)
	if err != nil {
		return nil, err
	}
	r, err := openWith(b, key, sealed, opt)
	if err != nil {
		return nil, err
	}
	r.keyID.Store(&id)
	return r, nil
}

// openWith opens with the master key and the sealed config.
func openWith(b backend.Backend, key *crypto.Key, sealed []byte, opt Options) (*Repo, error) {
	text, err := key.Open(sealed)
	if err != nil {
		return nil, fmt.Errorf("config: %w: %w", ErrDamaged, err)
	}
	cfg, err := decodeConfig(text)
	if err != nil {
		return nil, err
	}
	r, err := newRepo(b, opt, key)
	if err != nil {
		return nil, err
	}
	r.cfg = cfg
	r.openCache()
	return r, nil
}
