package main

import (
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

type node struct {
	MessageType string `json:"message_type"`
	Path        string `json:"path"`
	Type        string `json:"type"`
	Size        int64  `json:"size"`
}

// inside gives the name of a file for an fs.FS: people begin paths with a slash, as restic prints them.
func inside(name string) string {
	return path.Clean(strings.TrimLeft(name, "/"))
}

func (a *app) lsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ls [SNAPSHOT[:PATH] [PATH]]",
		Short: "List the files of a snapshot",
		Long: `ls lists the files of a snapshot (default: the latest), or those below a path in it, with their sizes. "ls latest:/dir" gives
paths below dir, "ls latest /dir" whole ones.

JSON: one {"message_type":"node","path":...,"type":"file" or "dir","size":n} a line; no summary.`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ref, root := "latest", "."
			if len(args) > 0 {
				ref = args[0]
			}
			if len(args) > 1 {
				root = inside(args[1])
			}
			return a.withSnapshot(cmd.Context(), ref, func(_ *repository.Snapshot, files fs.FS) error {
				return fs.WalkDir(files, root, func(name string, d fs.DirEntry, err error) error {
					if err != nil {
						return fmt.Errorf("list %s: %w", name, err)
					}
					if err := cmd.Context().Err(); err != nil {
						return fmt.Errorf("list %s: %w", name, err)
					}
					if name == "." {
						return nil
					}
					info, err := d.Info()
					if err != nil {
						return fmt.Errorf("list %s: %w", name, err)
					}
					if d.IsDir() {
						a.out.object(node{"node", name, "dir", 0})
						a.out.textf("%14s  %s/\n", "", name)
						return nil
					}
					a.out.object(node{"node", name, "file", info.Size()})
					a.out.textf("%14s  %s\n", thousands(info.Size()), name)
					return a.out.Err()
				})
			})
		},
	}
}

func (a *app) dumpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "dump SNAPSHOT[:PATH] PATH",
		Short: "Write a file of a snapshot to standard output",
		Long: `dump writes the bytes of one file to standard output. If it cannot write all of them it fails and says how many it wrote.
A documents file is the body of _bulk requests:

  escrow dump latest indices/logs/shard-0.ndjson | split -l 20000 - part-
  curl -H 'Content-Type: application/x-ndjson' --data-binary @part-aa "$ES/logs/_bulk?pipeline=_none"`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSnapshot(cmd.Context(), args[0], func(_ *repository.Snapshot, files fs.FS) error {
				return dump(a.out, files, inside(args[1]))
			})
		},
	}
}

// dump copies a file, all of it.
func dump(w io.Writer, files fs.FS, name string) (err error) {
	f, err := files.Open(name)
	if err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	defer func() {
		if cerr := f.Close(); err == nil && cerr != nil {
			err = fmt.Errorf("dump %s: %w", name, cerr)
		}
	}()
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("dump %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("dump %s: not a file", name)
	}
	n, err := io.Copy(w, f)
	if err == nil && n != info.Size() {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("dump %s: incomplete, %d of %d bytes written: %w", name, n, info.Size(), err)
	}
	return nil
}

func (a *app) catCommand() *cobra.Command {
	cat := &cobra.Command{
		Use:   "cat config | snapshot | manifest | index",
		Short: "Print what the repository holds about something, as JSON",
		Long:  "cat prints the JSON that the repository holds, as it is stored where it is a file of a snapshot.",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			return usagef("cat what? config, snapshot, manifest or index")
		},
	}
	sub := func(use, help string, args cobra.PositionalArgs, run func(cmd *cobra.Command, args []string) error) {
		cat.AddCommand(&cobra.Command{Use: use, Short: help, Args: args, RunE: run})
	}
	ref := func(args []string) string {
		if len(args) > 0 {
			return args[0]
		}
		return "latest"
	}
	sub("config", "Print the repository's id and format", cobra.NoArgs, func(cmd *cobra.Command, _ []string) error {
		return a.withRepo(cmd.Context(), func(repo *repository.Repo) error {
			return a.indented(struct {
				ID      string `json:"id"`
				Version int    `json:"version"`
			}{repo.ID(), repo.Version()})
		})
	})
	sub("snapshot [SNAPSHOT]", "Print a snapshot (default: the latest)", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			return a.withRepo(cmd.Context(), func(repo *repository.Repo) error {
				sn, err := repo.Snapshot(cmd.Context(), ref(args))
				if err != nil {
					return err
				}
				return a.indented(sn)
			})
		})
	sub("manifest [SNAPSHOT]", "Print the manifest of a backup (default: the latest)", cobra.MaximumNArgs(1),
		func(cmd *cobra.Command, args []string) error {
			return a.withSnapshot(cmd.Context(), ref(args), func(_ *repository.Snapshot, files fs.FS) error {
				return dump(a.out, files, layout.ManifestPath)
			})
		})
	sub("index SNAPSHOT INDEX", "Print the settings, mappings and aliases of an index", cobra.ExactArgs(2),
		func(cmd *cobra.Command, args []string) error {
			return a.withSnapshot(cmd.Context(), args[0], func(_ *repository.Snapshot, files fs.FS) error {
				return dump(a.out, files, layout.IndexPath(args[1]))
			})
		})
	return cat
}

// indented prints v for a person, or on one line with --json.
func (a *app) indented(v any) error {
	enc := json.NewEncoder(a.out)
	enc.SetEscapeHTML(false)
	if !a.out.json {
		enc.SetIndent("", "  ")
	}
	return enc.Encode(v)
}
