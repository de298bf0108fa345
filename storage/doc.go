// Package storage says where backups are kept: it reads the Repository objects of Kubernetes (stash.appscode.com/v1alpha1, as
// Stash writes them), and opens the place that they name.
//
// A [Repository] names a backend, such as a bucket, and a secret with its credentials and the repository's password.
// [Repository.Backend] opens the backend with the drivers that the caller has put into a backend.Mux, [Repository.Password]
// reads the password; repository.Open takes both. [Repository.Observe] computes the object's status from the opened repository,
// [Repository.Allows] tells which namespaces may use it.
//
// The object is declarative: it lives here, apart from package repository, so that programs which open a repository by its URL
// need nothing of Kubernetes.
//
// +groupName=stash.appscode.com
// +versionName=v1alpha1
package storage
