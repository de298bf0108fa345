package restore_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing/fstest"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/layout"
	"github.com/escrow-backup/escrow/restore"
)

// smallBackup is a backup with one index of two documents, as package backup writes it.
func smallBackup() fstest.MapFS {
	var file []byte
	sh := layout.Shard{}
	for _, d := range []layout.Document{{ID: "1", Source: []byte(`{"name":"Ada"}`)}, {ID: "2", Source: []byte(`{"name":"Kim"}`)}} {
		lines, err := d.AppendLines(nil)
		if err != nil {
			panic(err)
		}
		sh.Digest.Add(lines)
		sh.Docs++
		file = append(file, lines...)
	}
	m, err := json.Marshal(layout.Manifest{Format: layout.Format, Indices: []layout.Index{{Name: "t-users", Docs: 2, Shards: []layout.Shard{sh}}}})
	if err != nil {
		panic(err)
	}
	meta := `{"aliases":{},"mappings":{"properties":{"name":{"type":"keyword"}}},"settings":{"index":{"number_of_shards":"1","number_of_replicas":"0",
		"routing":{"allocation":{"include":{"_tier_preference":"data_content"}}}}}}`
	return fstest.MapFS{
		layout.ManifestPath:                {Data: m},
		layout.IndexPath("t-users"):        {Data: []byte(meta)},
		layout.DocumentsPath("t-users", 0): {Data: file},
	}
}

func ExampleNewPlan() {
	ctx, es := context.Background(), estest.NewHandler(nil).Transport()
	o := &restore.Options{Rename: []restore.Rename{{From: "t-users", To: "t-people"}}}
	plan, err := restore.NewPlan(ctx, smallBackup(), es, o)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(plan)
	result, err := plan.Run(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(result.Indices, "index,", result.Documents, "documents")
	// Output:
	// create   t-people (from t-users): 2 documents
	// 1 indices, 2 documents to load
	// 1 index, 2 documents
}

func ExampleVerify() {
	ctx, es := context.Background(), estest.NewHandler(nil).Transport()
	diff, err := restore.Verify(ctx, smallBackup(), es, &restore.Options{Rename: []restore.Rename{{From: "*", To: "t-absent-*"}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Print(diff)
	// Output:
	// 1 of 1 indices differ
	// index t-absent-t-users: not in the cluster, 2 documents missing
}

func ExampleLoad() {
	ctx, es := context.Background(), estest.NewHandler(nil).Transport()
	docs := func(yield func(restore.Document, error) bool) {
		for i := range 3 {
			if !yield(restore.Document{Index: "t-numbers", ID: fmt.Sprint(i), Source: fmt.Appendf(nil, `{"n":%d}`, i)}, nil) {
				return
			}
		}
	}
	result, err := restore.Load(ctx, es, docs, nil)
	fmt.Println(result.Documents, err)
	// Output: 3 <nil>
}
