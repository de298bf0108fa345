// Package crds holds the CustomResourceDefinitions of the objects of packages task, storage and appbinding, for programs that install
// them, and for "kubectl apply -f task/crds". They are generated from the Go types: make generate.
package crds

import (
	"embed"
	"io/fs"
)

//go:embed *.yaml
var files embed.FS

// FS holds the definitions, a file each, in the root.
func FS() fs.FS { return files }
