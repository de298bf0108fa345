// Command fetch fetches and compiles what the tests run on, so that no test has to wait for it: the versions of
// Elasticsearch, the storage servers, and other programs. With arguments, only what they name; "kube" is a Kubernetes cluster,
// which takes minutes to compile.
package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/escrow-backup/escrow/internal/e2e/esserver"
	"github.com/escrow-backup/escrow/internal/e2e/servers"
)

func main() {
	if err := fetch(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func fetch(ctx context.Context, names []string) error {
	for _, v := range []esserver.Version{esserver.V8, esserver.V9} {
		if len(names) > 0 && !slices.Contains(names, "elasticsearch") {
			break
		}
		if err := esserver.Install(v); err != nil {
			return err
		}
		fmt.Printf("elasticsearch %s is ready\n", v)
	}
	for _, p := range servers.Programs {
		if len(names) > 0 && !slices.Contains(names, p.Name) {
			continue
		}
		if err := p.Install(ctx); err != nil {
			return err
		}
		fmt.Println(strings.TrimSpace(p.Name+" "+p.Version), "is ready")
	}
	return nil
}
