package crds_test

import (
	"fmt"
	"io/fs"
	"log"

	"github.com/escrow-backup/escrow/task/crds"
)

func ExampleFS() {
	names, err := fs.Glob(crds.FS(), "*restore*.yaml")
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range names {
		fmt.Println(name)
	}
	// Output:
	// stash.appscode.com_restorebatches.yaml
	// stash.appscode.com_restoresessions.yaml
}
