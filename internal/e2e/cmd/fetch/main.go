// Command fetch fetches and compiles the versions of Elasticsearch that the tests run on, so that no test has to wait
// for it.
package main

import (
	"fmt"
	"os"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
)

func main() {
	for _, v := range []esserver.Version{esserver.V8, esserver.V9} {
		if err := esserver.Install(v); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		fmt.Printf("elasticsearch %s is ready\n", v)
	}
}
