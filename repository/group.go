package repository

import (
	"fmt"
	"slices"
	"strings"
)

// GroupBy says which snapshots belong together: those that have the named properties in common. A Policy is applied to each
// group by itself.
type GroupBy uint8

// The properties; add them up.
const (
	GroupByHost GroupBy = 1 << iota
	GroupByPaths
	GroupByTags
	GroupTogether // by nothing: all in one group
)

// ParseGroupBy reads "host", "paths" and "tags" with commas between them, as restic does; the empty text is GroupTogether.
func ParseGroupBy(s string) (GroupBy, error) {
	var g GroupBy
	for name := range strings.SplitSeq(s, ",") {
		switch name {
		case "host", "hosts":
			g |= GroupByHost
		case "path", "paths":
			g |= GroupByPaths
		case "tag", "tags":
			g |= GroupByTags
		case "":
		default:
			return 0, fmt.Errorf("group by %q: want host, paths or tags", name)
		}
	}
	if g == 0 {
		g = GroupTogether
	}
	return g, nil
}

// GroupKey is what the snapshots of a group have in common.
type GroupKey struct {
	Hostname string   // if grouped by it
	Paths    []string // sorted; if grouped by them
	Tags     []string // sorted; if grouped by them
}

// String names the properties, each with a blank before it; nothing if there are none.
func (k GroupKey) String() string {
	s := ""
	if k.Hostname != "" {
		s += fmt.Sprintf(" host %q", k.Hostname)
	}
	if len(k.Paths) > 0 {
		s += fmt.Sprintf(" paths %q", k.Paths)
	}
	if len(k.Tags) > 0 {
		s += fmt.Sprintf(" tags %q", k.Tags)
	}
	return s
}

// SnapshotGroup is snapshots that belong together.
type SnapshotGroup struct {
	GroupKey
	Snapshots []*Snapshot // in the order given
}

// Group sorts snapshots into groups, whose order does not depend on that of the snapshots. The zero value puts all into one.
func (g GroupBy) Group(snapshots []*Snapshot) []SnapshotGroup {
	byKey := map[string]*SnapshotGroup{}
	var keys []string
	for _, s := range snapshots {
		var k GroupKey
		if g&GroupByHost != 0 {
			k.Hostname = s.Hostname
		}
		if g&GroupByPaths != 0 {
			k.Paths = slices.Sorted(slices.Values(s.Paths))
		}
		if g&GroupByTags != 0 {
			k.Tags = slices.Sorted(slices.Values(s.Tags))
		}
		key := fmt.Sprintf("%q %q %q", k.Hostname, k.Paths, k.Tags)
		if byKey[key] == nil {
			byKey[key] = &SnapshotGroup{GroupKey: k}
			keys = append(keys, key)
		}
		byKey[key].Snapshots = append(byKey[key].Snapshots, s)
	}
	slices.Sort(keys)
	all := make([]SnapshotGroup, len(keys))
	for i, key := range keys {
		all[i] = *byKey[key]
	}
	return all
}
