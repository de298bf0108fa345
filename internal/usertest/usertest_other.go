//go:build !unix

// Package usertest runs tests as a user to whom permissions apply.
package usertest

import "testing"

// Unprivileged skips the test: files have no permissions of Unix here.
func Unprivileged(t *testing.T, _ func(t *testing.T)) {
	t.Skip("files have no permissions of Unix here")
}
