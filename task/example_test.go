package task_test

import (
	"context"
	"fmt"
	"log"

	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

func ExampleResolve() {
	parse := func(text string) task.Object {
		o, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + text))
		if err != nil {
			log.Fatal(err)
		}
		return o
	}
	catalog := task.NewCatalog(
		parse("kind: Function\nmetadata: {name: say}\nspec: {image: example/say, args: ['--to=${word}', '--host=${host:=host-0}']}"),
		parse("kind: Task\nmetadata: {name: greet}\nspec: {steps: [{name: say}]}"),
	)
	configuration := parse(`kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  schedule: "0 3 * * *"
  task: {name: greet, params: [{name: word, value: '"quotes" and \ cannot break it'}]}
  repository: {name: store}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
  retentionPolicy: {name: keep-last-5, keepLast: 5, prune: true}`)
	session := parse("kind: BackupSession\nmetadata: {name: nightly-1, namespace: demo}\nspec: {invoker: {kind: BackupConfiguration, name: nightly}}")
	store, err := storage.Parse([]byte("apiVersion: stash.appscode.com/v1alpha1\nkind: Repository\nmetadata: {name: store, namespace: demo}\nspec: {backend: {local: {mountPath: /backups}}}"))
	if err != nil {
		log.Fatal(err)
	}
	plan, err := task.Resolve(context.Background(), catalog, task.Invocation{Session: session, Invoker: configuration, Repository: store})
	if err != nil {
		log.Fatal(err)
	}
	for _, s := range plan.Steps {
		fmt.Println(s.Name, s.Spec.Args)
	}
	fmt.Println(plan.JobName())
	// Output:
	// say [--to="quotes" and \ cannot break it --host=host-0]
	// stash-backup-nightly-1-0
}
