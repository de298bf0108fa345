// Package session decides what happens to sessions: which are made, which may run, how they end, and what is done about a failure. An operator
// uses it, and so does a program without a cluster.
//
// All decisions are functions of objects and of a time; nothing here waits, and nothing but [Hooks] reaches out. The functions that change an
// object change its status in memory only; whoever calls them stores it.
//
//   - Before: [ValidateBackup] says whether an invoker can be used, [Due] when it is due, [New] makes a session for it.
//   - At the start: [StartBackup] lets a session run, skips it because another one runs or the invoker is paused, or lets it wait.
//   - At the end: [FinishBackup] and [FinishRestore] set the phase from those of the targets, or because the deadline has passed.
//   - Afterwards: [Retry] says whether and when a failed backup is tried again, [History] which sessions to delete.
//
// [FromBlueprint] makes a Repository and a BackupConfiguration for a target that asks for it by an annotation. [Next] says which members of a
// batch to run.
package session
