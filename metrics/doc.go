// Package metrics says what escrow measures, and hands the values to whoever collects them.
//
// A [Metric] has a name, a help text and the names of its labels. The [Catalogue] has all of them: those that Stash has, by its names and
// labels, and escrow's own. A [Sink] takes values: [Memory] keeps them, [Log] logs them, package push sends them to a Pushgateway of
// Prometheus. All metrics are gauges: they tell of the last run.
//
// What came of a run is an [BackupSession], [BackupHost], [RestoreSession], [RestoreHost] or [Repository]; its Record method gives every
// value to a Sink. A failed run records that it failed, when, and how long it took, and leaves the time of the last success alone.
//
// The package needs the standard library only. A Sink is given by the caller; there is no global one.
package metrics
