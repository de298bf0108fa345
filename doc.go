// Package escrow is the map of a library that backs up Elasticsearch into repositories in the restic format, and restores
// it from there. It has no code; import the packages below it.
//
//   - [github.com/escrow-backup/escrow/backup] goes from a cluster to files: Run writes a snapshot into a repository, Dump writes into a directory
//     or any target, Documents is the stream beneath both.
//   - [github.com/escrow-backup/escrow/restore] goes from files, any fs.FS, to a cluster: NewPlan and Plan.Run create and load indices, Verify
//     compares a cluster with a backup, Load is the stream beneath.
//   - [github.com/escrow-backup/escrow/layout] is what both agree on: the files of a backup and their contents.
//   - [github.com/escrow-backup/escrow/repository] reads and writes restic repositories: Init, Open, Write,
//     Snapshots, FS, Check; directories (AddFS, RestoreDir); PlanForget, PlanPrune, Copy, keys, repairs.
//   - [github.com/escrow-backup/escrow/repository/backend] is the seam to storage, with a driver a package below it. Package
//     backendtest is the suite that every driver passes, package wrap has retries, limits, timeouts and observation for all of them.
//   - [github.com/escrow-backup/escrow/storage] reads Repository objects, which say where backups are kept, and opens the places.
//   - [github.com/escrow-backup/escrow/appbinding] makes clients from AppBinding objects and secrets.
//   - [github.com/escrow-backup/escrow/task] has the objects that say what is backed up when: Function, Task, BackupConfiguration, sessions and
//     the like, as Stash has them. Resolve makes a Plan of them, which becomes a Job of Kubernetes or runs in the process.
//     Package session below it decides about sessions, package elasticsearch has the Functions.
//   - [github.com/escrow-backup/escrow/metrics] is what is measured, and where it goes.
//   - [github.com/escrow-backup/escrow/estest] is an in-memory Elasticsearch for unit tests.
//
// # Words
//
//   - A repository is a place with encrypted, deduplicated data: files that a backend stores. A Repo is an open one.
//   - A snapshot is the root of one backup in a repository. A blob is a piece of a file, stored once; a pack holds many.
//   - A shard is a part of an index. Its sequence numbers order the operations on it; what lies at or below its global checkpoint is
//     on every copy in sync and is never undone.
//   - A point in time is a view of a shard that does not change while it is read.
//   - A segment, here, is the documents of a shard in a range of sequence numbers: what an incremental backup reuses whole.
//   - A shard is sealed in a backup when all that the backup saw of it was final. Only then is anything reused from it.
package escrow
