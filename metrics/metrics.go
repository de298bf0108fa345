package metrics

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Metric is something that is measured.
type Metric struct {
	Name   string
	Help   string
	Labels []string
	Source Source
}

// Source is what a series tells of. It decides which series belong together and replace each other.
type Source int

// The sources.
const (
	OfSession    Source = iota // what an invoker's last session did as a whole
	OfTarget                   // the same of one target of it
	OfHost                     // the same of one host of a target
	OfRepository               // a repository
)

// A Sink takes values. Implementations may be used concurrently.
type Sink interface {
	// Record takes the value of a series, whose label values are in the order of m.Labels. The last value of a series counts.
	Record(ctx context.Context, m *Metric, v float64, labels ...string) error
}

// A Flusher is a Sink that gathers values and sends them later: whoever ran the session calls Flush, once.
type Flusher interface {
	Flush(ctx context.Context) error
}

// A Deleter is a Sink that can forget all series of a group, such as [Group] gives: what it told of is gone.
type Deleter interface {
	Delete(ctx context.Context, group string) error
}

// Flush flushes s if it is a Flusher.
func Flush(ctx context.Context, s Sink) error {
	if f, ok := s.(Flusher); ok {
		return f.Flush(ctx)
	}
	return nil
}

// Delete forgets the group if s is a Deleter.
func Delete(ctx context.Context, s Sink, group string) error {
	if d, ok := s.(Deleter); ok {
		return d.Delete(ctx, group)
	}
	return nil
}

// Group names the series of an invoker or a repository: "backupconfiguration-demo-nightly", "repository-demo-store".
func Group(kind, namespace, name string) string {
	return strings.ToLower(kind) + "-" + namespace + "-" + name
}

// Check says whether the number of label values is right.
func (m *Metric) Check(labels []string) error {
	if len(labels) != len(m.Labels) {
		return fmt.Errorf("metric %s: has %d label values, wants %d: %s", m.Name, len(labels), len(m.Labels), strings.Join(m.Labels, ", "))
	}
	return nil
}

// Key says which series belong together: group, as Group gives it, and the names of the further labels that tell the source. Two
// series with the same group and the same values of these labels come from the same source.
func (m *Metric) Key(labels []string) (group string, further []string, err error) {
	if err := m.Check(labels); err != nil {
		return "", nil, err
	}
	value := func(name string) string {
		for i, l := range m.Labels {
			if l == name {
				return labels[i]
			}
		}
		return ""
	}
	switch m.Source {
	case OfRepository:
		return Group("repository", value("namespace"), value("name")), nil, nil
	case OfTarget:
		further = targetLabels
	case OfHost:
		further = hostLabels
	}
	return Group(value("invoker_kind"), value("namespace"), value("invoker_name")), further, nil
}

// Discard is a Sink that takes no notice.
var Discard Sink = discard{}

type discard struct{}

func (discard) Record(context.Context, *Metric, float64, ...string) error { return nil }

// Tee gives everything to each of the sinks, and joins their errors.
func Tee(sinks ...Sink) Sink { return tee(sinks) }

type tee []Sink

func (t tee) each(fn func(Sink) error) error {
	var errs []error
	for _, s := range t {
		errs = append(errs, fn(s))
	}
	return errors.Join(errs...)
}

// Record implements [Sink].
func (t tee) Record(ctx context.Context, m *Metric, v float64, labels ...string) error {
	return t.each(func(s Sink) error { return s.Record(ctx, m, v, labels...) })
}

// Flush implements [Flusher].
func (t tee) Flush(ctx context.Context) error {
	return t.each(func(s Sink) error { return Flush(ctx, s) })
}

// Delete implements [Deleter].
func (t tee) Delete(ctx context.Context, group string) error {
	return t.each(func(s Sink) error { return Delete(ctx, s, group) })
}
