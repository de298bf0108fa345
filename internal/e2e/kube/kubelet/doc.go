// Package kubelet runs the pods of one node as processes of this machine: no images are pulled and no container runtime is
// needed, only the rights of root.
//
// A container is a process in a mount and a process-id namespace of its own. Its root is an empty file system in memory with the
// machine's programs and libraries (/usr, /bin, /lib, ...) bound read-only, devices, an /etc that knows the cluster's Services, and
// the pod's volumes at their mount paths. An image is the one program that [Options] gives for its name: it lies in the root folder
// and is the entry point.
//
// It knows init containers, restart policies, exit codes, termination messages and grace, active deadlines, deletion;
// volumes of the kinds emptyDir, hostPath, Secret, ConfigMap, downward API, projected (with tokens of the service account), claims and
// generic ephemeral ones; variables from all of those; users, groups, fsGroup, read-only root file systems and privilege escalation.
//
// What it does not do: probes (a container that runs is ready), exec, logs over the API (they are files), limits of
// resources, networks (everybody shares 127.0.0.1, and a Service's name is that address), sidecar init containers, lifecycle hooks.
// Restarts wait for a second at first, not ten, and at most for a minute.
package kubelet
