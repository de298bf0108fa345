// Package flow holds the end-to-end tests on a Kubernetes cluster: etcd, API server, controllers and scheduler are real, a pod is a
// process of this machine (see internal/e2e/kube). They need root, and a program that takes minutes to build, once:
//
//	cd internal/e2e && go run ./cmd/fetch kube
//
// TestCluster shows what that cluster does. TestFlow installs the operator of examples/operator in it by its manifests, with the rights that these give, and has it
// back up a real Elasticsearch to MinIO, restore it, be killed, and meet what goes wrong.
//
// It has no code of its own. It is a module of its own so that the other end-to-end tests do not depend on Kubernetes' client.
package flow
