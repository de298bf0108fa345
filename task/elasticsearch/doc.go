// Package elasticsearch has the Functions of Tasks that back up and restore Elasticsearch: "elasticsearch-backup",
// "elasticsearch-restore" and "update-status". They take the arguments that Stash's Functions of these names take, so that an existing
// Function needs another image only, and run in a container (see examples/escrow) or in the process that calls them.
//
// [Functions.Backup] backs up the cluster that an AppBinding names into a repository, which it makes if there is none, applies the retention policy
// and checks the repository. [Functions.Restore] brings it back. Both write what came of it into output.json (see [Output]), also when they
// fail, and return the error. [Functions.UpdateStatus] reads that file, sets the status of the session and of the Repository, and
// records the metrics. [Functions.Bind] gives all of them to a task.Runner; [Objects] are the Tasks and Functions to apply.
//
// A backup goes from the cluster into the repository without a scratch disk. Only with an interim volume it is written there first, and
// then uploaded.
package elasticsearch
