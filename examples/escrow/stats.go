package main

import (
	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/repository"
)

type statsSummary struct {
	MessageType      string  `json:"message_type"`
	Snapshots        int64   `json:"snapshots"`
	Files            int64   `json:"files"`
	Dirs             int64   `json:"dirs"`
	Others           int64   `json:"others"`
	Bytes            int64   `json:"bytes"`
	Blobs            int64   `json:"blobs"`
	BlobBytes        int64   `json:"blob_bytes"`
	PackedBytes      int64   `json:"packed_bytes"`
	DedupRatio       float64 `json:"dedup_ratio"`
	CompressionRatio float64 `json:"compression_ratio"`
}

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats [SNAPSHOT...]",
		Short: "Say how much snapshots hold, and what they take in the repository",
		Long: `stats adds up what the snapshots (default: all) hold. What several need counts once in the repository.

JSON: one line {"message_type":"summary","snapshots":n,"files":n,"dirs":n,"others":n,"bytes":n,"blobs":n,"blob_bytes":n,
"packed_bytes":n,"dedup_ratio":x,"compression_ratio":x}: "bytes" is what restoring all takes, "blob_bytes" is that
without what is there twice, and "packed_bytes" what is stored for it.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				all, err := snapshots(ctx, repo, args)
				if err != nil {
					return err
				}
				s, err := repo.Stats(ctx, all...)
				if err != nil {
					return err
				}
				a.out.object(statsSummary{"summary", s.Snapshots, s.Files, s.Dirs, s.Others, s.Bytes, s.Blobs, s.BlobBytes, s.PackedBytes,
					s.DedupRatio(), s.CompressionRatio()})
				a.out.textf("%s with %s\n", count(s.Snapshots, "snapshot", "snapshots"), count(s.Files, "file", "files"))
				a.out.textf("  to restore  %s\n", size(s.Bytes))
				a.out.textf("  deduplicated  %s (%.2f times less)\n", size(s.BlobBytes), s.DedupRatio())
				a.out.textf("  stored  %s (%.2f times less)\n", size(s.PackedBytes), s.CompressionRatio())
				return nil
			})
		},
	}
}
