package repository

import (
	"slices"
	"strings"
	"time"
)

// Filter chooses snapshots; the zero value chooses all. Every given condition must hold.
type Filter struct {
	Hostname  string
	Hostnames []string  // one of them
	Tags      []string  // all of them
	AnyTags   []TagList // one of the lists: all tags of at least one must be there
	Paths     []string  // all of them
	Since     time.Time // made at this time or later
	Until     time.Time // made before this time
}

// has reports whether the snapshot meets every condition.
func (f Filter) has(s *Snapshot) bool {
	return (f.Hostname == "" || f.Hostname == s.Hostname) &&
		(len(f.Hostnames) == 0 || slices.Contains(f.Hostnames, s.Hostname)) &&
		all(s.Tags, f.Tags) && all(s.Paths, f.Paths) &&
		(len(f.AnyTags) == 0 || slices.ContainsFunc(f.AnyTags, func(l TagList) bool { return l.matches(s.Tags) })) &&
		(f.Since.IsZero() || !s.Time.Before(f.Since)) &&
		(f.Until.IsZero() || s.Time.Before(f.Until))
}

func all(have, want []string) bool {
	return !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(have, w) })
}

// TagList is tags that a snapshot must all have. The empty tag stands for a snapshot that has no tags.
type TagList []string

// ParseTagList reads tags with commas between them, as restic does. Blanks around a tag do not belong to it.
func ParseTagList(s string) TagList {
	l := TagList(strings.Split(s, ","))
	for i := range l {
		l[i] = strings.TrimSpace(l[i])
	}
	return l
}

// String gives the tags with commas between them.
func (l TagList) String() string { return strings.Join(l, ",") }

func (l TagList) matches(tags []string) bool {
	if len(tags) == 0 && slices.Contains(l, "") {
		return true
	}
	return all(tags, l)
}
