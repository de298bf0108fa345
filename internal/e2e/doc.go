// Package e2e holds the end-to-end tests: a real Elasticsearch, the restic program as the judge of repositories, and the
// escrow command line as users run it. It has no code of its own; the fixtures lie in the packages below it:
//
//   - esserver starts Elasticsearch from its published jars, one node or several, which can be killed and restarted.
//   - esproxy stands between a client and a server: TLS, credentials, and faults on demand.
//   - resticcli runs the restic program on a local repository.
//   - servers starts storage servers, a Pushgateway, and a Kubernetes cluster of one node; kube is the program that is that cluster.
//   - rusticcli runs the rustic program, where it is: see make interop-rustic.
//   - need says what becomes of a test whose program is not installed.
//
// The tests on Kubernetes are in flow, a module of its own.
//
// With ESCROW_E2E=require in the environment a missing program fails the tests; without it they are skipped, and say
// how to install it.
package e2e
