package restore

import (
	"fmt"
	"strings"
)

// Diff is how a cluster differs from a backup.
type Diff struct {
	Indices   []IndexDiff  // only those that differ
	Objects   []ObjectDiff // data streams and objects of sections, likewise
	Checked   int          // indices compared
	Documents int64        // documents of the cluster that were read and compared
}

// ObjectDiff is how a data stream or an object of a section differs.
type ObjectDiff struct {
	Name     string   // such as "data stream logs" or "ingest_pipelines/clean"
	Missing  bool     // it is not in the cluster
	Metadata []string // such as "generation: backup 3, cluster 2"
}

// IndexDiff is how one index differs.
type IndexDiff struct {
	Index                               string    // in the cluster
	Missing                             bool      // there is no such index
	Metadata                            []string  // such as "settings: number_of_replicas: backup 1, cluster 0"
	DocsMissing, DocsExtra, DocsChanged int64     // in the cluster; exact
	Examples                            []DocDiff // at most 100
}

// DocDiff is one document that differs.
type DocDiff struct {
	ID, Routing string
	Kind        string // "missing", "extra", "changed"
}

// Identical reports whether there is no difference.
func (d *Diff) Identical() bool { return len(d.Indices)+len(d.Objects) == 0 }

// String tells a person what differs, ten documents an index.
func (d *Diff) String() string {
	var b strings.Builder
	if d.Identical() {
		fmt.Fprintf(&b, "identical: %d indices, %d documents\n", d.Checked, d.Documents)
		return b.String()
	}
	fmt.Fprintf(&b, "%d of %d indices differ\n", len(d.Indices), d.Checked)
	for i := range d.Indices {
		d.Indices[i].write(&b)
	}
	for _, x := range d.Objects {
		if x.Missing {
			fmt.Fprintf(&b, "%s: not in the cluster\n", x.Name)
			continue
		}
		fmt.Fprintf(&b, "%s:\n", x.Name)
		for _, m := range x.Metadata {
			fmt.Fprintf(&b, "  %s\n", m)
		}
	}
	return b.String()
}

func (x *IndexDiff) write(b *strings.Builder) {
	if x.Missing {
		fmt.Fprintf(b, "index %s: not in the cluster, %d documents missing\n", x.Index, x.DocsMissing)
		return
	}
	fmt.Fprintf(b, "index %s: documents missing %d, extra %d, changed %d\n", x.Index, x.DocsMissing, x.DocsExtra, x.DocsChanged)
	for _, m := range x.Metadata {
		fmt.Fprintf(b, "  %s\n", m)
	}
	for i, e := range x.Examples {
		if i == 10 {
			fmt.Fprintf(b, "  ...\n")
			break
		}
		fmt.Fprintf(b, "  %s: %q", e.Kind, e.ID)
		if e.Routing != "" {
			fmt.Fprintf(b, " routing %q", e.Routing)
		}
		b.WriteByte('\n')
	}
}
