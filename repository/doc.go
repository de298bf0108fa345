// Package repository reads and writes restic repositories: encrypted, deduplicated snapshots of files, on any
// [backend.Backend].
//
// What it writes, the restic and rustic programs open, check and restore, and what they write it reads. It reads and writes
// format versions 1 and 2; a new repository is of version 2 unless [Options] say otherwise. The format is described in
// doc/design.rst of restic.
//
// # Nouns
//
// A repository is a set of immutable files in a backend. Each is named by the SHA-256 of what it holds, and all but the
// keys are encrypted.
//
// A blob is a piece of a file, or a directory listing, of at most some megabytes. It is named by the SHA-256 of its text,
// so equal pieces are stored once: that is the deduplication.
//
// A pack is a file of some megabytes that holds many blobs, compressed and encrypted one by one.
//
// An index is a file that says which blob lies where in which pack. A blob that no index names does not exist.
//
// A tree is a blob that lists one directory: names, modes, times, and for each file the blobs that it consists of.
//
// A snapshot is a file that names the tree of the root directory, with a time, a host name, paths and tags. It is written
// last, so that everything it needs is there.
//
// A key is a file that holds the master key, encrypted with a key derived from a password. There may be several.
//
// A lock is a file that says that some process is working. Writers and checks hold a shared one; what removes data needs
// an exclusive one.
//
// A [Repo] is the open handle to all that. (Not to be confused with Repository, which is the name that the declarative
// objects of backup operators use for the place and the credentials of one.)
//
// # Use
//
// [Init] makes a repository and [Open] opens one. [Repo.Write] makes a snapshot, and commits it only if the function that
// writes it returns nil. [Repo.Snapshots] and [Repo.Snapshot] find snapshots, [Repo.FS] reads one as an [io/fs.FS].
// [Repo.Check] finds what is damaged.
//
// All calls end when their context ends. What then remains to be done, to remove the lock and to index what was uploaded, gets
// some seconds more if the storage hangs. Migrate does not end in the moment in which there is no config.
//
// # Crashes
//
// Packs are stored first, then the indexes that name their blobs, then the snapshot. A process that dies at any point
// leaves nothing worse than packs or blobs that no snapshot needs; the next Write reuses those that an index names.
package repository
