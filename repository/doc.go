// Package repository reads and writes restic repositories: encrypted, deduplicated snapshots of files on any
// [backend.Backend].
package repository
