//go:build !race

package estest_test

// scale is how many documents TestScale takes.
const scale = 300_000
