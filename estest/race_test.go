//go:build race

package estest_test

// scale is how many documents TestScale takes; the race detector makes each of them cost several times as much.
const scale = 60_000
