package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
)

// password is read as restic reads it: white space around a file's content does not belong to it.
func (a *app) password() (repository.Password, error) {
	if a.passwordFile == "" {
		pw := a.env("RESTIC_PASSWORD")
		if pw == "" {
			return "", usagef("no password: give --password-file or set RESTIC_PASSWORD")
		}
		return repository.Password(pw), nil
	}
	var text []byte
	var err error
	if a.passwordFile == "-" {
		var line string
		line, err = bufio.NewReader(a.stdin).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		text = []byte(line)
	} else {
		text, err = os.ReadFile(a.passwordFile)
	}
	if err != nil {
		return "", fmt.Errorf("read password: %w", err)
	}
	pw := strings.TrimSpace(string(text))
	if pw == "" {
		return "", fmt.Errorf("read password: %s is empty", a.passwordFile)
	}
	return repository.Password(pw), nil
}

// withBackend opens what --repo or --repository names, and closes it after fn.
func (a *app) withBackend(ctx context.Context, fn func(backend.Backend, repository.Password) error) (err error) {
	b, pw, err := a.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = closed(err, b.Close()) }()
	return fn(b, pw)
}

// closed is the outcome of work that was done with something, and of closing that.
func closed(err, closing error) error {
	switch {
	case closing == nil:
		return err
	case err == nil || err == errOmitted:
		return closing
	default:
		return errors.Join(err, closing)
	}
}

// withRepo opens the repository, and closes it after fn, which removes its lock, however fn ends.
func (a *app) withRepo(ctx context.Context, fn func(*repository.Repo) error) error {
	return a.withBackend(ctx, func(b backend.Backend, pw repository.Password) (err error) {
		o := &repository.Options{NoLock: a.noLock, LockTimeout: a.lockTimeout, Cache: a.cacheDir, Compression: a.compression, Concurrency: a.place.connections,
			LockSettle: a.lockSettle, ScryptN: a.scryptN}
		open := repository.Open
		if a.place.inMemory() {
			open = repository.Init // nothing can be there yet
		}
		repo, err := open(ctx, b, pw, o)
		if err != nil {
			return fmt.Errorf("repository %s: %w", &a.place, err)
		}
		defer func() { err = closed(err, repo.Close()) }()
		return fn(repo)
	})
}

// withSnapshot opens the repository and the files of a snapshot in it, or, with a ref such as "latest:/path", those below a path.
func (a *app) withSnapshot(ctx context.Context, ref string, fn func(*repository.Snapshot, fs.FS) error) error {
	return a.withRepo(ctx, func(repo *repository.Repo) error {
		sn, name, err := repo.Resolve(ctx, ref)
		if err != nil {
			return err
		}
		files, err := repo.FS(ctx, sn)
		if err == nil {
			files, err = fs.Sub(files, name)
		}
		if err != nil {
			return err
		}
		return fn(sn, files)
	})
}

// short is how restic abbreviates an id.
func short(id repository.ID) string { return id.String()[:8] }

type initialized struct {
	MessageType string `json:"message_type"`
	ID          string `json:"id"`
	Repository  string `json:"repository"`
}

func (a *app) initCommand() *cobra.Command {
	var o repository.Options
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Create a repository",
		Long: `init creates a repository (restic format version 2, unless told otherwise). It never touches one that exists.

JSON: {"message_type":"initialized","id":...,"repository":...}`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if o.Version != 1 && o.Version != 2 {
				return usagef("--repository-version %d: 1 and 2 are supported", o.Version)
			}
			return a.withBackend(ctx, func(b backend.Backend, pw repository.Password) error {
				o.ScryptN = a.scryptN
				repo, err := repository.Init(ctx, b, pw, &o)
				if err != nil {
					return fmt.Errorf("repository %s: %w", &a.place, err)
				}
				a.out.object(initialized{"initialized", repo.ID(), a.place.String()})
				if !a.quiet {
					a.out.textf("created repository %.8s at %s\n", repo.ID(), &a.place)
				}
				return repo.Close()
			})
		},
	}
	cmd.Flags().IntVar(&o.Version, "repository-version", 2, "format `VERSION`, 1 or 2; 1 is for programs that do not know 2, and without compression")
	return cmd
}
