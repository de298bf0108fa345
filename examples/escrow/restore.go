package main

import (
	"context"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/restore"
)

// shownRejections is how many rejected documents are printed for a person; JSON has them all.
const shownRejections = 20

type planned struct {
	MessageType string   `json:"message_type"`
	DataStream  string   `json:"data_stream"`
	From        string   `json:"from"`
	To          string   `json:"to"`
	Action      string   `json:"action"`
	Documents   int64    `json:"documents"`
	Removed     []string `json:"removed"`
}

type plannedObject struct {
	MessageType string `json:"message_type"`
	Section     string `json:"section"`
	Name        string `json:"name"`
	Action      string `json:"action"`
	Note        string `json:"note"`
}

type rejection struct {
	MessageType string `json:"message_type"`
	Index       string `json:"index"`
	ID          string `json:"id"`
	Routing     string `json:"routing"`
	Status      int    `json:"status"`
	Type        string `json:"type"`
	Reason      string `json:"reason"`
}

type restoreSummary struct {
	MessageType     string            `json:"message_type"`
	SnapshotID      string            `json:"snapshot_id"`
	DryRun          bool              `json:"dry_run"`
	Indices         int               `json:"indices"`
	Skipped         int               `json:"skipped"`
	Kept            int               `json:"kept"`
	DataStreams     int               `json:"data_streams"`
	Objects         int               `json:"objects"`
	ObjectsLeft     int               `json:"objects_left"`
	Documents       int64             `json:"documents"`
	Bytes           int64             `json:"bytes"`
	LeftOut         int64             `json:"left_out"`
	Rejected        int64             `json:"rejected"`
	Retried         int64             `json:"retried"`
	DurationSeconds float64           `json:"duration_seconds"`
	Omitted         []layout.Omission `json:"omitted"`
}

// selection is what restore and verify have in common.
type selection struct {
	snapshot string
	renames  []string
	kibana   string
	pick     pick
	o        restore.Options
}

func (s *selection) flags(f *pflag.FlagSet) {
	f.StringVar(&s.snapshot, "snapshot", "latest", "`ID` of the snapshot, or its beginning, latest or latest~N")
	f.StringArrayVar(&s.o.Indices, "index", nil, "`PATTERN` of indices, data streams and aliases in the snapshot, or a name, repeatable (default: all)")
	f.StringArrayVar(&s.o.Exclude, "exclude", nil, "`PATTERN` of indices and data streams to leave out, repeatable")
	f.StringArrayVar(&s.o.Sections, "section", nil, "`NAME` of a section, default or none, repeatable (default: with --index none, else default)")
	f.StringVar(&s.kibana, "kibana", "", "`URL` of Kibana, for the sections that are asked of it; credentials as for --es")
	f.BoolVar(&s.o.Managed, "managed", false, "treat what the cluster or a product keeps itself as all else")
	f.StringArrayVar(&s.renames, "rename", nil, "`FROM=TO`, each with at most one *, repeatable; the first that matches is applied")
	f.IntVar(&s.o.Concurrency, "concurrency", 0, "requests at once, a `NUMBER` (default 2)")
	f.IntVar(&s.o.IndicesAtOnce, "indices-at-once", 0, "small indices that are restored at once, a `NUMBER` (default 12)")
	s.pick.flags(f, &s.o)
}

// parse checks what was asked for before anything is opened.
func (s *selection) parse(stdin io.Reader) (err error) {
	if s.o.Rename, err = renames("--rename", s.renames); err != nil {
		return err
	}
	return s.pick.parse(&s.o, stdin)
}

func (a *app) restoreCommand() *cobra.Command {
	var es cluster
	var s selection
	var conflict, rejectedFile string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "restore --es URL [--snapshot ID] [--index PATTERN]... [--rename from=to]...",
		Short: "Restore indices from a snapshot",
		Long: `restore creates the chosen indices as they were, with settings, mappings and aliases, and loads their documents. It fails
if the cluster does not take every single document, and names those it refused.

What to do with an index that exists: --conflict fail (before anything is written), skip (leave it), replace (load
beside it, then swap), merge (load into it; documents of the same id are overwritten). A data stream cannot be merged
with. Objects of sections (see backup) that are equal are left; of others the same holds, and merge replaces them. What
the cluster or a product keeps itself is only made where it is missing. To restore sections alone: --exclude '*'.

--resume goes on where a restore was killed: what it left half made is made anew, what is whole is compared with the snapshot and kept. An
index that does not hold what the snapshot does is treated as --conflict says.

The exit code is 3 if the snapshot itself lacks something, which is named in it and in the output, or if --max-rejects let
documents go.

--query, --ids-file, --from and --to choose documents by what lies in the snapshot, not by an index: see package restore/query.
--settings and --mappings change what indices are made with. Settings that a server of another version than the
snapshot's does not know are left out and named.

JSON: with --dry-run one {"message_type":"planned","data_stream":...,"from":...,"to":...,"action":...,"documents":n,"removed":[...]} an
index and one {"message_type":"planned_object","section":...,"name":...,"action":...,"note":...} an object; for every refused document {"message_type":"rejection","index":...,"id":...,"routing":...,"status":n,
"type":...,"reason":...}; last line {"message_type":"summary","snapshot_id":...,"dry_run":b,"indices":n,"skipped":n,"kept":n,
"data_streams":n,"objects":n,"objects_left":n,"documents":n,"bytes":n,"left_out":n,"rejected":n,"retried":n,"duration_seconds":x,"omitted":[{"what":...,"why":...}]}.
With --quiet and without --json it prints nothing but what was refused or omitted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			if err := s.parse(a.stdin); err != nil {
				return err
			}
			switch s.o.Conflict = restore.Conflict(conflict); s.o.Conflict {
			case restore.Fail, restore.Skip, restore.Replace, restore.Merge:
			default:
				return usagef("--conflict %q: want fail, skip, replace or merge", conflict)
			}
			client, err := a.connect(ctx, &es)
			if err != nil {
				return err
			}
			if s.o.Kibana, err = a.connectKibana(s.kibana, &es); err != nil {
				return err
			}
			return a.withSnapshot(ctx, s.snapshot, func(sn *repository.Snapshot, files fs.FS) error {
				s.o.Retries = es.tries()
				return a.restoreFiles(ctx, sn.ID.String(), files, client, &s.o, rejectedFile, dryRun)
			})
		},
	}
	f := cmd.Flags()
	es.flags(f)
	s.flags(f)
	f.StringVar(&conflict, "conflict", "fail", "`WHAT` to do with an index that exists: fail, skip, replace or merge")
	f.BoolVar(&s.o.Resume, "resume", false, "go on with a restore that was interrupted, with the same snapshot and options; none other may run meanwhile")
	f.BoolVar(&dryRun, "dry-run", false, "print what would be done, and change nothing")
	f.Int64Var(&s.o.MaxRejects, "max-rejects", 0, "documents that the cluster may refuse, a `NUMBER`; -1: any; the exit code is 3 then")
	f.StringVar(&rejectedFile, "rejected-file", "", "new `FILE` for the documents that the cluster refuses, with their sources and the reasons, one JSON object a line")
	return cmd
}

// restoreFiles restores what lies in files.
func (a *app) restoreFiles(ctx context.Context, id string, files fs.FS, client elastictransport.Interface, o *restore.Options, rejectedFile string, dryRun bool) (err error) {
	m := a.meter("restore")
	defer m.close()
	log, err := openRejected(rejectedFile, dryRun)
	if err != nil {
		return err
	}
	defer func() { err = closed(err, log.close()) }()
	show := a.rejected()
	o.Progress = m.restore
	o.Rejected = func(r restore.Rejection) {
		show(r)
		log.Add(r)
	}
	plan, err := restore.NewPlan(ctx, files, client, o)
	if err != nil {
		return err
	}
	sum := restoreSummary{MessageType: "summary", SnapshotID: id, DryRun: dryRun, Omitted: list(plan.Manifest.Omitted)}
	refused := int64(0)
	if dryRun {
		a.planned(plan, &sum)
	} else {
		res, err := plan.Run(ctx)
		if err != nil {
			return err
		}
		m.close()
		refused = res.Rejected
		a.restored(res, &sum)
	}
	a.out.omitted(plan.Manifest.Omitted)
	if refused > 0 || len(plan.Manifest.Omitted) > 0 {
		return errOmitted
	}
	return nil
}

// rejected prints the documents that the cluster refused.
func (a *app) rejected() func(restore.Rejection) {
	n := 0
	return func(r restore.Rejection) {
		a.out.object(rejection{"rejection", r.Document.Index, r.Document.ID, r.Document.Routing, r.Status, r.Type, r.Reason})
		if n++; n <= shownRejections {
			a.out.textf("refused: %s of index %s: %d %s: %s\n", r.Document.ID, r.Document.Index, r.Status, r.Type, r.Reason)
		} else if n == shownRejections+1 {
			a.out.textf("refused: and more; --json names them all\n")
		}
	}
}

func (a *app) planned(plan *restore.Plan, sum *restoreSummary) {
	of := map[string]string{}
	indices := plan.Indices
	for _, d := range plan.DataStreams {
		indices = append(slices.Clip(indices), d.Indices...)
		for _, x := range d.Indices {
			of[x.To] = d.To
		}
		if d.Action != "skip" {
			sum.DataStreams++
		}
	}
	for _, x := range plan.Objects {
		a.out.object(plannedObject{"planned_object", x.Section, x.Name, x.Action, x.Note})
		if x.Action == "create" || x.Action == "replace" {
			sum.Objects++
		} else {
			sum.ObjectsLeft++
		}
	}
	for _, ix := range indices {
		a.out.object(planned{"planned", of[ix.To], ix.From, ix.To, ix.Action, ix.Docs, list(ix.Removed)})
		switch ix.Action {
		case "skip":
			sum.Skipped++
			continue
		case "complete":
			sum.Kept++
			continue
		}
		sum.Indices++
		sum.Documents += ix.Docs
	}
	a.out.object(sum)
	a.out.textf("%s\n", strings.TrimRight(plan.String(), "\n"))
}

func (a *app) restored(res *restore.Result, sum *restoreSummary) {
	sum.Indices, sum.Skipped, sum.Documents, sum.Bytes = res.Indices, res.Skipped, res.Documents, res.Bytes
	sum.DataStreams, sum.Objects, sum.ObjectsLeft = res.Streams, res.Objects, res.ObjectsLeft
	sum.LeftOut, sum.Kept = res.LeftOut, res.Kept
	sum.Rejected, sum.Retried, sum.DurationSeconds = res.Rejected, res.Retried, res.Duration.Seconds()
	a.out.object(sum)
	if a.quiet {
		return
	}
	a.out.textf("restored %s of %s, %s, in %s\n", count(res.Documents, "document", "documents"),
		count(int64(res.Indices), "index", "indices"), size(res.Bytes), took(res.Duration))
	if res.Objects+res.ObjectsLeft > 0 {
		a.out.textf("wrote %s of sections; %s were there or are the cluster's own\n", count(int64(res.Objects), "object", "objects"),
			thousands(int64(res.ObjectsLeft)))
	}
	if res.LeftOut > 0 {
		a.out.textf("left out %s that were not chosen\n", count(res.LeftOut, "document", "documents"))
	}
	if res.Rejected > 0 {
		a.out.textf("%s refused, which --max-rejects allows\n", count(res.Rejected, "document was", "documents were"))
	}
	if res.Kept > 0 {
		a.out.textf("kept %s that an interrupted restore had loaded\n", count(int64(res.Kept), "index", "indices"))
	}
	if res.Skipped > 0 {
		a.out.textf("skipped %s that exist already\n", count(int64(res.Skipped), "index", "indices"))
	}
}
