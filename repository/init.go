package repository

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"

	"github.com/escrow-backup/escrow/internal/crypto"
	"github.com/escrow-backup/escrow/repository/backend"
)

// Init makes a new repository in b, with one key, and opens it. If b holds one already, even one that
// another password opens, the error wraps fs.ErrExist.
func Init(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	r, err := initialize(ctx, b, pw, o)
	if err != nil {
		return nil, fmt.Errorf("init repository: %w", err)
	}
	return r, nil
}

func initialize(ctx context.Context, b backend.Backend, pw Password, o *Options) (*Repo, error) {
	opt, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := vacant(ctx, b); err != nil {
		return nil, err
	}
	r, err := newRepo(b, opt, crypto.NewKey())
	if err != nil {
		return nil, err
	}
	if r.cfg, err = newConfig(opt.Version); err != nil {
		return nil, err
	}
	if o != nil && o.CopyChunker != nil {
		r.cfg.Polynomial = o.CopyChunker.cfg.Polynomial
	}
	id, err := addKey(ctx, b, r.key, pw, opt.scrypt(), keyFile{Created: r.now(), Username: username(), Hostname: hostname()})
	if err != nil {
		return nil, err
	}
	r.keyID.Store(&id)
	text, err := json.Marshal(r.cfg)
	if err != nil {
		return nil, fmt.Errorf("encode config: %w", err)
	}
	if _, err := r.saveFile(ctx, backend.Config, text); err != nil {
		return nil, err
	}
	r.openCache()
	return r, nil
}

// vacant returns an error if b holds a repository, or part of one.
func vacant(ctx context.Context, b backend.Backend) error {
	switch _, err := b.Stat(ctx, backend.Handle{Type: backend.Config}); {
	case err == nil:
		return fmt.Errorf("there is a repository already: %w", fs.ErrExist)
	case !backend.IsNotExist(err):
		return err
	}
	for fi, err := range b.List(ctx, backend.Key) {
		if err != nil {
			return err
		}
		return fmt.Errorf("there is no config, but %v: %w", fi.Handle, fs.ErrExist)
	}
	return nil
}
