// Package task says what to do when, as the objects of Kubernetes that Stash's users have (stash.appscode.com/v1beta1), and turns
// them into something that runs.
//
// A [Function] is a container: an image and its arguments, with variables in them. A [Task] is a list of Functions, its steps.
// A [BackupConfiguration] says which target is backed up by which Task, when, into which Repository, and what is kept. Each time
// that this happens is a [BackupSession]; a [RestoreSession] brings a backup back once. A [BackupBlueprint] makes
// BackupConfigurations for targets with its annotation; [BackupBatch] and [RestoreBatch] have several targets.
// The Repository lives in package storage, the AppBinding, which is the target, in package appbinding.
//
// The objects are those of Stash field by field. Parse functions report fields that they do not know; the CustomResourceDefinitions
// are in package crds below this one.
//
// +kubebuilder:object:generate=true
// +groupName=stash.appscode.com
// +versionName=v1beta1
package task
