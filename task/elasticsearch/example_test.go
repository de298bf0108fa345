package elasticsearch_test

import (
	"fmt"

	"github.com/escrow-backup/escrow/task/elasticsearch"
)

func ExampleObjects() {
	for _, o := range elasticsearch.Objects("8.2.0") {
		fmt.Printf("%T %s\n", o, o.GetName())
	}
	// Output:
	// *task.Function elasticsearch-backup-8.2.0
	// *task.Function elasticsearch-restore-8.2.0
	// *task.Function update-status
	// *task.Task elasticsearch-backup-8.2.0
	// *task.Task elasticsearch-restore-8.2.0
}
