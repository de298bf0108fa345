package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
)

type backupSummary struct {
	MessageType     string             `json:"message_type"`
	SnapshotID      string             `json:"snapshot_id"`
	Parent          string             `json:"parent"`
	Indices         int                `json:"indices"`
	DataStreams     int                `json:"data_streams"`
	Sections        []layout.Section   `json:"sections"`
	Documents       int64              `json:"documents"`
	DocumentsRead   int64              `json:"documents_read"`
	Bytes           int64              `json:"bytes"`
	BytesAdded      int64              `json:"bytes_added"`
	Segments        int64              `json:"segments"`
	SegmentsReused  int64              `json:"segments_reused"`
	DocumentsReused int64              `json:"documents_reused"`
	SegmentsChanged int64              `json:"segments_changed"`
	NotReused       []backup.NotReused `json:"not_reused"`
	Verified        bool               `json:"verified"`
	Resumed         bool               `json:"resumed"`
	DurationSeconds float64            `json:"duration_seconds"`
	Warnings        []string           `json:"warnings"`
	Omitted         []layout.Omission  `json:"omitted"`
}

func (a *app) backupCommand() *cobra.Command {
	var es cluster
	var kibana string
	o := &backup.Options{}
	cmd := &cobra.Command{
		Use:   "backup --es URL [--index PATTERN]...",
		Short: "Back up indices and what else a cluster holds into a new snapshot",
		Long: `backup reads the documents, settings, mappings and aliases of the chosen indices and data streams into a new snapshot.
What has not changed since the last snapshot of the same choice is not read again. There is a snapshot only if it is complete.

What else a cluster holds is in sections: stored_scripts, ingest_pipelines, slm_policies, ilm_policies,
component_templates, index_templates, legacy_templates, enrich_policies, transforms, watches, and only if asked for
cluster_settings, security_roles, security_role_mappings, security_users, and with --kibana kibana_spaces and
kibana_objects. A name may hold * and be followed by /OBJECT, such as ingest_pipelines/logs-*; "default" are those that
need not be asked for, "none" is none. A section that the cluster does not have is no error.

With --interim, the cluster is dumped into a directory first, and uploaded from there when it is no longer needed. The directory is
removed afterwards; if the upload failed it stays, and the same command uploads it ("resumed").

With --allow-omissions, what cannot be backed up whole is named in the snapshot and in the output, and the exit code is 3.

JSON, last line: {"message_type":"summary","snapshot_id":...,"parent":...,"indices":n,"data_streams":n,
"sections":[{"name":...,"objects":n,"absent":...}],"documents":n,"documents_read":n,
"bytes":n,"bytes_added":n,"segments":n,"segments_reused":n,"resumed":b,"documents_reused":n,"segments_changed":n,
"not_reused":[{"index":...,"shard":n,"segments":n,"why":...}],"verified":b,"duration_seconds":x,"warnings":[...],
"omitted":[{"what":...,"why":...}]}; before it, about once a second, {"message_type":"status",...}.
With --quiet and without --json it prints the snapshot's id alone.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			client, err := a.connect(ctx, &es)
			if err != nil {
				return err
			}
			if o.Kibana, err = a.connectKibana(kibana, &es); err != nil {
				return err
			}
			return a.withRepo(ctx, func(repo *repository.Repo) error {
				m := a.meter("backup")
				o.Progress, o.Retries = m.backup, es.tries()
				res, err := backup.Run(ctx, client, repo, o)
				m.close()
				if err != nil {
					return err
				}
				a.backedUp(res)
				if len(res.Omitted) > 0 {
					return errOmitted
				}
				return nil
			})
		},
	}
	f := cmd.Flags()
	es.flags(f)
	f.StringArrayVar(&o.Indices, "index", nil, "`PATTERN` of indices, data streams or aliases, or a name, repeatable (default: all that begin with no dot)")
	f.StringArrayVar(&o.Exclude, "exclude", nil, "`PATTERN` of indices and data streams to leave out, repeatable")
	f.StringArrayVar(&o.Sections, "section", nil, "`NAME` of a section, default or none, repeatable (default: default)")
	f.StringVar(&kibana, "kibana", "", "`URL` of Kibana, for the sections that are asked of it; credentials as for --es")
	f.StringArrayVar(&o.Tags, "tag", nil, "`TAG` of the snapshot, repeatable")
	f.StringVar(&o.Host, "host", "", "`HOST` of the snapshot (default: this one's name)")
	f.BoolVar(&o.Full, "full", false, "read everything again, reuse nothing")
	f.StringVar((*string)(&o.Increment), "increment", string(backup.IncrementLog), "`HOW` to go on where documents were updated or deleted: log, or segments to read what lies around them again")
	f.IntVar(&o.VerifyEvery, "verify-every", 0, "compare what is reused with the cluster in every so many-th increment, which reads everything, a `NUMBER`; -1: never (default 30)")
	f.BoolVar(&o.AllowOmissions, "allow-omissions", false, "name what cannot be backed up whole, and go on")
	f.StringVar(&o.Interim, "interim", "", "`DIR` to dump into before anything is uploaded; it holds documents unencrypted until then")
	f.Int64Var(&o.DocsPerSecond, "docs-per-second", 0, "read no more than this `NUMBER` of documents a second, on average")
	f.Int64Var(&o.BytesPerSecond, "bytes-per-second", 0, "read no more than this `NUMBER` of bytes a second, on average")
	f.BoolVar(&o.Versions, "versions", false, "keep the documents' versions, so that a restore gives them back")
	f.IntVar(&o.Concurrency, "concurrency", 0, "search requests at once, a `NUMBER` (default 4)")
	return cmd
}

func (a *app) backedUp(res *backup.Result) {
	sum := backupSummary{
		MessageType: "summary", SnapshotID: res.Snapshot.ID.String(), Indices: len(res.Manifest.Indices),
		DataStreams: len(res.Manifest.DataStreams), Sections: list(res.Manifest.Sections),
		Documents: res.Documents, DocumentsRead: res.DocumentsRead, Bytes: res.Bytes, BytesAdded: res.BytesAdded,
		Segments: res.Segments, SegmentsReused: res.SegmentsReused, DocumentsReused: res.DocumentsReused,
		SegmentsChanged: res.SegmentsChanged, NotReused: list(res.NotReused), Verified: res.Verified, Resumed: res.Resumed, DurationSeconds: res.Duration.Seconds(),
		Warnings: list(res.Manifest.Warnings), Omitted: list(res.Omitted),
	}
	if res.Parent != nil {
		sum.Parent = res.Parent.ID.String()
	}
	a.out.object(sum)
	if a.quiet {
		a.out.textf("%s\n", sum.SnapshotID)
	} else {
		a.out.textf("snapshot %s saved in %s\n", short(res.Snapshot.ID), took(res.Duration))
		a.out.textf("  holds  %s of %s, %s\n", count(res.Documents, "document", "documents"),
			count(int64(sum.Indices), "index", "indices"), size(res.Bytes))
		objects := 0
		for _, s := range res.Manifest.Sections {
			objects += s.Objects
		}
		a.out.textf("         %s; %s of %s\n", count(int64(sum.DataStreams), "data stream", "data streams"),
			count(int64(objects), "object", "objects"), count(int64(len(sum.Sections)), "section", "sections"))
		reused := ""
		if res.Parent != nil {
			reused = fmt.Sprintf("; %s of %s reused from snapshot %s", thousands(res.SegmentsReused),
				count(res.Segments, "segment", "segments"), short(res.Parent.ID))
		}
		a.out.textf("  read   %s%s\n", count(res.DocumentsRead, "document", "documents"), reused)
		if res.Resumed {
			a.out.textf("         out of the interim directory, as of %s\n", res.Manifest.Started.Format(time.RFC3339))
		}
		a.out.textf("  added  %s to the repository\n", size(res.BytesAdded))
		for _, n := range sum.NotReused {
			what := "all"
			if n.Segments > 0 {
				what = count(n.Segments, "segment", "segments")
			}
			a.out.textf("  again  index %s shard %d, %s: %s\n", n.Index, n.Shard, what, n.Why)
		}
		for _, w := range sum.Warnings {
			a.out.textf("warning: %s\n", w)
		}
	}
	a.out.omitted(res.Omitted)
}
