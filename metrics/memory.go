package metrics

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Memory keeps the last value of every series: for tests, and for a program's own metrics page. Its zero value is empty and ready.
type Memory struct {
	mu     sync.Mutex
	series map[string]Sample
}

// Sample is a value of a series.
type Sample struct {
	Metric *Metric
	Labels []string // values, in the order of Metric.Labels
	Value  float64
}

// Name is the series as Prometheus writes it: name{label="value",...}.
func (s Sample) Name() string {
	parts := make([]string, len(s.Labels))
	for i, v := range s.Labels {
		parts[i] = s.Metric.Labels[i] + `="` + escapes.Replace(v) + `"`
	}
	return s.Metric.Name + "{" + strings.Join(parts, ",") + "}"
}

var escapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// Record implements [Sink].
func (m *Memory) Record(_ context.Context, metric *Metric, v float64, labels ...string) error {
	if err := metric.Check(labels); err != nil {
		return err
	}
	s := Sample{metric, slices.Clone(labels), v}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.series == nil {
		m.series = map[string]Sample{}
	}
	m.series[s.Name()] = s
	return nil
}

// Delete implements [Deleter].
func (m *Memory) Delete(_ context.Context, group string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name, s := range m.series {
		of, _, err := s.Metric.Key(s.Labels)
		if err != nil {
			return err
		}
		if of == group {
			delete(m.series, name)
		}
	}
	return nil
}

// Samples are all series, by metric and labels.
func (m *Memory) Samples() []Sample {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.SortedFunc(maps.Values(m.series), func(a, b Sample) int {
		return cmp.Or(cmp.Compare(a.Metric.Name, b.Metric.Name), slices.Compare(a.Labels, b.Labels))
	})
}

// Value is the value of the metric's series whose labels begin with these values; found says whether there is exactly one.
func (m *Memory) Value(metric *Metric, labels ...string) (v float64, found bool) {
	n := 0
	for _, s := range m.Samples() {
		if s.Metric.Name == metric.Name && len(labels) <= len(s.Labels) && slices.Equal(s.Labels[:len(labels)], labels) {
			v = s.Value
			n++
		}
	}
	return v, n == 1
}

// WriteTo writes all series in the text format of Prometheus.
func (m *Memory) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	last := ""
	for _, s := range m.Samples() {
		if s.Metric.Name != last {
			last = s.Metric.Name
			fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", last, s.Metric.Help, last)
		}
		fmt.Fprintf(&b, "%s %s\n", s.Name(), strconv.FormatFloat(s.Value, 'g', -1, 64))
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// Log is a Sink that logs each value, at level Info.
func Log(l *slog.Logger) Sink { return logSink{l} }

type logSink struct{ l *slog.Logger }

// Record implements [Sink].
func (s logSink) Record(ctx context.Context, m *Metric, v float64, labels ...string) error {
	if err := m.Check(labels); err != nil {
		return err
	}
	attrs := []slog.Attr{slog.String("metric", m.Name), slog.Float64("value", v)}
	for i, name := range m.Labels {
		attrs = append(attrs, slog.String(name, labels[i]))
	}
	s.l.LogAttrs(ctx, slog.LevelInfo, "metric", attrs...)
	return nil
}
