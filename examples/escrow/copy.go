package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
)

type copiedLine struct {
	MessageType string `json:"message_type"`
	Action      string `json:"action"`
	SnapshotID  string `json:"snapshot_id"`
	Original    string `json:"original"`
}

type copySummary struct {
	MessageType string `json:"message_type"`
	Copied      int    `json:"copied"`
	Skipped     int    `json:"skipped"`
	Blobs       int64  `json:"blobs"`
	Bytes       int64  `json:"bytes"`
	BytesAdded  int64  `json:"bytes_added"`
}

func (a *app) copyCommand() *cobra.Command {
	var from, fromPassword string
	var create bool
	cmd := &cobra.Command{
		Use:   "copy [SNAPSHOT...]",
		Short: "Copy snapshots from another repository into this one",
		Long: `copy copies snapshots (default: all) from the repository --from-repo into --repo. Those that were copied before are skipped,
so an interrupted copy is simply repeated. With --init it makes the repository --repo first, such that data of both is cut
into the same pieces: otherwise what is backed up into both does not share its space.

JSON: one {"message_type":"snapshot","action":"copied" or "skipped","snapshot_id":...,"original":...} a snapshot; last line
{"message_type":"summary","copied":n,"skipped":n,"blobs":n,"bytes":n,"bytes_added":n}.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if from == "" || fromPassword == "" {
				return usagef("copy from where? give --from-repo and --from-password-file")
			}
			source := *a
			source.place.url, source.place.object, source.passwordFile = from, "", fromPassword
			return source.withRepo(ctx, func(src *repository.Repo) error {
				if create {
					if err := a.initLike(ctx, src); err != nil {
						return err
					}
				}
				return a.withRepo(ctx, func(dst *repository.Repo) error { return a.copy(ctx, src, dst, args) })
			})
		},
	}
	cmd.Flags().StringVar(&from, "from-repo", "", "`URL` of the repository to copy from")
	cmd.Flags().StringVar(&fromPassword, "from-password-file", "", "`FILE` with its password")
	cmd.Flags().BoolVar(&create, "init", false, "make the repository --repo first, unless there is one")
	return cmd
}

func (a *app) initLike(ctx context.Context, src *repository.Repo) error {
	return a.withBackend(ctx, func(b backend.Backend, pw repository.Password) error {
		repo, err := repository.Init(ctx, b, pw, &repository.Options{CopyChunker: src, ScryptN: a.scryptN})
		if errors.Is(err, fs.ErrExist) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("repository %s: %w", &a.place, err)
		}
		return repo.Close()
	})
}

// snapshots gives the snapshots that the arguments name, or all.
func snapshots(ctx context.Context, repo *repository.Repo, refs []string) (all []*repository.Snapshot, err error) {
	if len(refs) > 0 {
		for _, ref := range refs {
			sn, err := repo.Snapshot(ctx, ref)
			if err != nil {
				return nil, err
			}
			all = append(all, sn)
		}
		return all, nil
	}
	for sn, err := range repo.Snapshots(ctx, repository.Filter{}) {
		if err != nil {
			return nil, err
		}
		all = append(all, sn)
	}
	return all, nil
}

func (a *app) copy(ctx context.Context, src, dst *repository.Repo, refs []string) error {
	all, err := snapshots(ctx, src, refs)
	if err != nil {
		return err
	}
	res, err := src.Copy(ctx, dst, all...)
	for _, sn := range res.Skipped {
		a.out.object(copiedLine{"snapshot", "skipped", "", sn.ID.String()})
		if !a.quiet {
			a.out.textf("skipped %s: it was copied before\n", short(sn.ID))
		}
	}
	for _, sn := range res.Copied {
		a.out.object(copiedLine{"snapshot", "copied", sn.ID.String(), sn.Original.String()})
		a.out.textf("copied %s, now %s\n", short(*sn.Original), short(sn.ID))
	}
	if err != nil {
		return err
	}
	a.out.object(copySummary{"summary", len(res.Copied), len(res.Skipped), res.Stats.NewBlobs, res.Stats.NewBytes, res.Stats.AddedBytes})
	if !a.quiet {
		a.out.textf("%s copied, %s added\n", count(int64(len(res.Copied)), "snapshot", "snapshots"), size(res.Stats.AddedBytes))
	}
	return nil
}
