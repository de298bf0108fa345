// Package controller runs the flow of backups and restores in a cluster: it watches the objects of package task, and makes of them what has to be
// there. What happens to a session is decided by package task/session, what a Job is by task.Resolve; here it is carried out.
//
// Every reconciliation looks at what there is and does the next thing that is missing, then stores the status; each can be repeated,
// whatever became of the one before. Names of what is made follow from the objects, so that nothing is made twice, and all of it is owned, so
// that nothing stays behind. A status is only stored if nobody changed the object meanwhile; if somebody did, all is looked at again.
//
//   - [Operator.BackupConfiguration], [Operator.BackupBatch]: conditions, and a CronJob that makes sessions.
//   - [Operator.BackupSession]: a Job for each target; then retries, history, metrics.
//   - [Operator.RestoreSession], [Operator.RestoreBatch]: the same for restores.
//   - [Operator.Repository]: who uses it; empties it when it is deleted, if it says wipeOut.
//   - [Operator.AppBinding]: a Repository and a BackupConfiguration, where its annotations name a BackupBlueprint.
//   - [Operator.Function], [Operator.Task]: an event for one that cannot be used.
package controller
