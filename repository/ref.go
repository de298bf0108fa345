package repository

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Resolve finds a snapshot and a path in it: "latest:/var/log" is the snapshot that Repo.Snapshot finds for "latest", and
// the path "var/log", for fs.Sub or RestoreOptions.Path. Without a colon the path is ".". The error wraps fs.ErrNotExist if
// there is no such snapshot, or nothing at the path.
func (r *Repo) Resolve(ctx context.Context, ref string) (*Snapshot, string, error) {
	id, name, _ := strings.Cut(ref, ":")
	s, err := r.Snapshot(ctx, id)
	if err != nil {
		return nil, "", err
	}
	// A leading slash is how restic writes such paths; ".." ends at the root, as in a file system.
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return s, ".", nil
	}
	fsys, err := r.FS(ctx, s)
	if err == nil {
		_, err = fs.Lstat(fsys, name)
	}
	if err != nil {
		return nil, "", fmt.Errorf("find %q: %w", ref, err)
	}
	return s, name, nil
}
