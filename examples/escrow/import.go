package main

import (
	"context"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore/elasticdump"
)

type importSummary struct {
	MessageType string `json:"message_type"`
	SnapshotID  string `json:"snapshot_id"`
	Indices     int    `json:"indices"`
	Documents   int64  `json:"documents"`
	Bytes       int64  `json:"bytes"`
	BytesAdded  int64  `json:"bytes_added"`
}

func (a *app) importCommand() *cobra.Command {
	var o elasticdump.Options
	var tags []string
	var host string
	cmd := &cobra.Command{
		Use:   "import-elasticdump DIRECTORY",
		Short: "Take a directory of elasticdump or multielasticdump into the repository",
		Long: `import-elasticdump makes a snapshot of a directory that elasticdump or multielasticdump wrote, as if the indices in it had been
backed up. restore, verify and all else then work on it. Files are <index>.json, .mapping.json, .settings.json, .analyzer.json,
.alias.json and .template.json, each also with .gz; the bytes of the documents are taken as they are. What is cut off, missing or
about another index is an error that names the file and the line, and no snapshot is made.

JSON: {"message_type":"summary","snapshot_id":...,"indices":n,"documents":n,"bytes":n,"bytes_added":n}.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			files, err := elasticdump.Open(ctx, os.DirFS(args[0]), &o)
			if err != nil {
				return err
			}
			m, err := layout.ReadManifest(files)
			if err != nil {
				return err
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				sum := importSummary{MessageType: "summary", Indices: len(m.Indices)}
				h := repository.Header{Time: time.Now(), Hostname: host, Tags: tags, Paths: []string{"/elasticsearch/" + m.Cluster.Name}}
				sn, err := repo.Write(ctx, h, func(ctx context.Context, w *repository.Writer) error {
					if err := w.AddFS(ctx, files, nil); err != nil {
						return err
					}
					sum.BytesAdded = w.Stats().AddedBytes
					return nil
				})
				if err != nil {
					return err
				}
				sum.SnapshotID = sn.ID.String()
				for _, ix := range m.Indices {
					sum.Documents += ix.Docs
					sum.Bytes += ix.Bytes
				}
				a.out.object(sum)
				a.out.textf("snapshot %s saved: %s of %s\n", short(sn.ID), count(sum.Documents, "document", "documents"),
					count(int64(sum.Indices), "index", "indices"))
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.AllowMissing, "allow-missing", false, "take indices whose documents, mappings or settings are missing")
	f.StringVar(&o.Name, "cluster", "elasticdump", "`NAME` of the cluster that the directory is from, for the snapshot's path")
	f.StringArrayVar(&tags, "tag", nil, "`TAG` of the snapshot, repeatable")
	f.StringVar(&host, "host", "", "`NAME` of the host in the snapshot (default: this one's)")
	return cmd
}

func (a *app) exportElasticdump(ctx context.Context, repo *repository.Repo, sn *repository.Snapshot, dir string) error {
	files, err := repo.FS(ctx, sn)
	if err != nil {
		return err
	}
	res, err := elasticdump.Export(ctx, files, dir)
	if err != nil {
		return err
	}
	omitted := []layout.Omission{}
	for _, what := range res.LeftOut {
		omitted = append(omitted, layout.Omission{What: what, Why: "a directory of elasticdump has no place for it"})
	}
	a.out.object(struct {
		MessageType string            `json:"message_type"`
		SnapshotID  string            `json:"snapshot_id"`
		Indices     int               `json:"indices"`
		Documents   int64             `json:"documents"`
		Bytes       int64             `json:"bytes"`
		Omitted     []layout.Omission `json:"omitted"`
	}{"summary", sn.ID.String(), res.Indices, res.Documents, res.Bytes, omitted})
	if !a.quiet {
		a.out.textf("%s of %s written to %s\n", count(res.Documents, "document", "documents"), count(int64(res.Indices), "index", "indices"), dir)
	}
	a.out.omitted(omitted)
	if len(omitted) > 0 {
		return errOmitted
	}
	return nil
}
