// Package appbinding says how to reach a database: it reads the AppBinding objects of Kubernetes
// (appcatalog.appscode.com/v1alpha1, as KubeDB and Stash write them), and connects to the Elasticsearch cluster they name.
//
// An [AppBinding] names an address, certificates and secrets. Where the secrets come from says a secret.Source: a mounted
// directory, memory, or an importer's own client. [AppBinding.Connect] puts both together
// into a client of go-elasticsearch. Programs that have an address and a password use [Config.Connect].
//
// Certificates are always verified unless the object says insecureSkipTLSVerify. Secrets appear in no error and no log.
//
// +groupName=appcatalog.appscode.com
// +versionName=v1alpha1
package appbinding
