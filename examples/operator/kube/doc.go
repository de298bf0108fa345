// Package kube lets the packages task and task/session work on the API of Kubernetes: [Store] reads objects and secrets and stores statuses,
// [Lookup] finds Tasks and Functions, and [Exec] reaches the pods behind a target.
package kube
