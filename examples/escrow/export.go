package main

import (
	"archive/tar"
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type exportSummary struct {
	MessageType string `json:"message_type"`
	SnapshotID  string `json:"snapshot_id"`
	Files       int64  `json:"files"`
	Links       int64  `json:"links"`
	Dirs        int64  `json:"dirs"`
	Others      int64  `json:"others"`
	Bytes       int64  `json:"bytes"`
}

func (a *app) exportCommand() *cobra.Command {
	var format, output string
	var o repository.RestoreOptions
	cmd := &cobra.Command{
		Use:   "export SNAPSHOT[:PATH]",
		Short: "Write the files of a snapshot to an archive or a directory",
		Long: `export writes the files of a snapshot, or those below a path in it, to a tar or zip archive, or to a directory with their modes,
times, links and extended attributes. Archives go to standard output unless --output names a file, which must not exist. An
archive that is cut off by an error is not removed from standard output: look at the exit code.

  escrow export latest | tar -t
  escrow export latest:/var/lib --format dir --output restored --verify

With --format elasticdump the indices of a backup of Elasticsearch go into files that multielasticdump loads. What such files have no
place for is named, and the exit code is 3.

JSON: only for directories: {"message_type":"summary","snapshot_id":...,"files":n,"links":n,"dirs":n,"others":n,"bytes":n}; for elasticdump
{"message_type":"summary","snapshot_id":...,"indices":n,"documents":n,"bytes":n,"omitted":[{"what":...,"why":...}]}.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			switch format {
			case "dir", "elasticdump":
				if output == "" {
					return usagef("export where? give --output")
				}
			case "tar", "zip":
			default:
				return usagef("--format %q: want tar, zip, dir or elasticdump", format)
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				sn, name, err := repo.Resolve(ctx, args[0])
				if err != nil {
					return err
				}
				if format == "elasticdump" {
					if name != "." {
						return usagef("export %s: elasticdump: a snapshot as a whole, without a path", args[0])
					}
					return a.exportElasticdump(ctx, repo, sn, output)
				}
				if format == "dir" {
					o.Path = name
					return a.exportDir(ctx, repo, sn, output, &o)
				}
				files, err := repo.FS(ctx, sn)
				if err != nil {
					return err
				}
				if files, err = fs.Sub(files, name); err != nil {
					return fmt.Errorf("export %s: %w", args[0], err)
				}
				write := writeTar
				if format == "zip" {
					write = writeZip
				}
				if err := a.exportTo(output, func(w io.Writer) error { return write(ctx, w, files) }); err != nil {
					return fmt.Errorf("export %s: %w", args[0], err)
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&format, "format", "tar", "`FORMAT`: tar, zip, dir or elasticdump")
	f.StringVarP(&output, "output", "o", "", "`FILE` or directory to write to (default: standard output)")
	f.BoolVar(&o.Verify, "verify", false, "dir: read back every file")
	f.BoolVar(&o.Sparse, "sparse", false, "dir: leave holes where files have zeros")
	f.BoolVar(&o.Overwrite, "overwrite", false, "dir: replace files that are there")
	f.BoolVar(&o.NoOwner, "no-owner", false, "dir: do not restore user and group")
	return cmd
}

func (a *app) exportDir(ctx context.Context, repo *repository.Repo, sn *repository.Snapshot, dir string, o *repository.RestoreOptions) error {
	res, err := repo.RestoreDir(ctx, sn, dir, o)
	if err != nil {
		return err
	}
	a.out.object(exportSummary{"summary", sn.ID.String(), res.Files, res.Links, res.Dirs, res.Others, res.Bytes})
	if !a.quiet {
		a.out.textf("%s with %s written to %s\n", count(res.Files, "file", "files"), size(res.Bytes), dir)
	}
	return nil
}

// exportTo calls write with standard output, or with a new file that is removed if write fails.
func (a *app) exportTo(name string, write func(io.Writer) error) error {
	if name == "" {
		return write(a.out)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if err := closed(write(f), f.Close()); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// walk calls add for everything but the root. body is nil unless it is a file.
func walk(ctx context.Context, files fs.FS, add func(name string, fi fs.FileInfo, link string, body io.Reader) error) error {
	return fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || name == "." {
			return err
		}
		fi, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case fi.Mode()&fs.ModeSymlink != 0:
			link, err := fs.ReadLink(files, name)
			if err != nil {
				return err
			}
			return add(name, fi, link, nil)
		case !fi.Mode().IsRegular():
			return add(name, fi, "", nil)
		}
		f, err := files.Open(name)
		if err != nil {
			return err
		}
		return closed(add(name, fi, "", f), f.Close())
	})
}

// copyAll copies a file, all of it.
func copyAll(w io.Writer, r io.Reader, name string, size int64) error {
	n, err := io.Copy(w, r)
	if err == nil && n != size {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("%s: %d of %d bytes written: %w", name, n, size, err)
	}
	return nil
}

func writeTar(ctx context.Context, w io.Writer, files fs.FS) error {
	t := tar.NewWriter(w)
	err := walk(ctx, files, func(name string, fi fs.FileInfo, link string, body io.Reader) error {
		h, err := tar.FileInfoHeader(fi, link)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		h.Name, h.Format = name, tar.FormatPAX // whole times, long names
		if fi.IsDir() {
			h.Name += "/"
		}
		if at, ok := fi.Sys().(*repository.Attributes); ok {
			h.Uid, h.Gid = int(at.UID), int(at.GID)
		}
		if err := t.WriteHeader(h); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if body == nil {
			return nil
		}
		return copyAll(t, body, name, fi.Size())
	})
	if err != nil {
		return err // without the end: whoever reads it sees that it is cut off
	}
	return t.Close()
}

func writeZip(ctx context.Context, w io.Writer, files fs.FS) error {
	z := zip.NewWriter(w)
	err := walk(ctx, files, func(name string, fi fs.FileInfo, link string, body io.Reader) error {
		h, err := zip.FileInfoHeader(fi)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		h.Name, h.Method = name, zip.Deflate
		if fi.IsDir() {
			h.Name, h.Method = name+"/", zip.Store
		}
		out, err := z.CreateHeader(h)
		if err == nil && link != "" {
			_, err = io.WriteString(out, link)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if body == nil {
			return nil
		}
		return copyAll(out, body, name, fi.Size())
	})
	if err != nil {
		return err
	}
	return z.Close()
}
