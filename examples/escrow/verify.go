package main

import (
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

type difference struct {
	MessageType string    `json:"message_type"`
	Index       string    `json:"index"`
	Missing     bool      `json:"missing"`
	Metadata    []string  `json:"metadata"`
	DocsMissing int64     `json:"documents_missing"`
	DocsExtra   int64     `json:"documents_extra"`
	DocsChanged int64     `json:"documents_changed"`
	Examples    []docDiff `json:"examples"`
}

type objectDifference struct {
	MessageType string   `json:"message_type"`
	Name        string   `json:"name"`
	Missing     bool     `json:"missing"`
	Metadata    []string `json:"metadata"`
}

type docDiff struct {
	ID      string `json:"id"`
	Routing string `json:"routing"`
	Kind    string `json:"kind"`
}

type verifySummary struct {
	MessageType      string            `json:"message_type"`
	SnapshotID       string            `json:"snapshot_id"`
	Identical        bool              `json:"identical"`
	IndicesChecked   int               `json:"indices_checked"`
	IndicesDiffering int               `json:"indices_differing"`
	ObjectsDiffering int               `json:"objects_differing"`
	Documents        int64             `json:"documents"`
	DurationSeconds  float64           `json:"duration_seconds"`
	Omitted          []layout.Omission `json:"omitted"`
}

func (a *app) verifyCommand() *cobra.Command {
	var es cluster
	var s selection
	cmd := &cobra.Command{
		Use:   "verify --es URL [--snapshot ID] [--index PATTERN]... [--rename from=to]...",
		Short: "Compare the cluster with a snapshot",
		Long: `verify compares every document, and settings, mappings and aliases, of the chosen indices with a snapshot, and data streams
and objects of sections. It prints
"identical", or the differences, and then the exit code is 1. It changes nothing.

JSON: one {"message_type":"difference","index":...,"missing":b,"metadata":[...],"documents_missing":n,
"documents_extra":n,"documents_changed":n,"examples":[{"id":...,"routing":...,"kind":...}]} an index that differs,
and one {"message_type":"object_difference","name":...,"missing":b,"metadata":[...]} a data stream or object of a section;
last line {"message_type":"summary","snapshot_id":...,"identical":b,"indices_checked":n,"indices_differing":n,"objects_differing":n,
"documents":n,"duration_seconds":x,"omitted":[{"what":...,"why":...}]}.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := s.parse(a.stdin); err != nil {
				return err
			}
			client, err := a.connect(ctx, &es)
			if err != nil {
				return err
			}
			if s.o.Kibana, err = a.connectKibana(s.kibana, &es); err != nil {
				return err
			}
			return a.withSnapshot(ctx, s.snapshot, func(sn *repository.Snapshot, files fs.FS) error {
				manifest, err := layout.ReadManifest(files)
				if err != nil {
					return err
				}
				m := a.meter("verify")
				defer m.close()
				s.o.Progress, s.o.Retries = m.restore, es.tries()
				began := time.Now()
				diff, err := restore.Verify(ctx, files, client, &s.o)
				if err != nil {
					return err
				}
				m.close()
				a.verified(diff, &verifySummary{MessageType: "summary", SnapshotID: sn.ID.String(),
					DurationSeconds: time.Since(began).Seconds(), Omitted: list(manifest.Omitted)})
				a.out.omitted(manifest.Omitted)
				switch {
				case !diff.Identical():
					return fmt.Errorf("verify snapshot %s: the cluster differs in %d of %s%s", short(sn.ID), len(diff.Indices),
						count(int64(diff.Checked), "index", "indices"), otherDifferences(diff))
				case len(manifest.Omitted) > 0:
					return errOmitted
				}
				return nil
			})
		},
	}
	es.flags(cmd.Flags())
	s.flags(cmd.Flags())
	return cmd
}

func otherDifferences(diff *restore.Diff) string {
	if len(diff.Objects) == 0 {
		return ""
	}
	return " and " + count(int64(len(diff.Objects)), "other thing", "other things")
}

func (a *app) verified(diff *restore.Diff, sum *verifySummary) {
	for _, d := range diff.Indices {
		o := difference{"difference", d.Index, d.Missing, list(d.Metadata), d.DocsMissing, d.DocsExtra, d.DocsChanged,
			[]docDiff{}}
		for _, e := range d.Examples {
			o.Examples = append(o.Examples, docDiff{e.ID, e.Routing, e.Kind})
		}
		a.out.object(o)
	}
	for _, d := range diff.Objects {
		a.out.object(objectDifference{"object_difference", d.Name, d.Missing, list(d.Metadata)})
	}
	sum.Identical, sum.IndicesDiffering, sum.ObjectsDiffering = diff.Identical(), len(diff.Indices), len(diff.Objects)
	sum.IndicesChecked, sum.Documents = diff.Checked, diff.Documents
	a.out.object(sum)
	if diff.Identical() {
		a.out.textf("identical: %s of %s\n", count(diff.Documents, "document", "documents"),
			count(int64(diff.Checked), "index", "indices"))
		return
	}
	a.out.textf("%s\n", strings.TrimRight(diff.String(), "\n"))
}
