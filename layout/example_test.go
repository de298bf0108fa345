package layout_test

import (
	"fmt"
	"strings"
	"testing/fstest"

	"github.com/escrow-backup/escrow/layout"
)

func ExampleDocuments() {
	file := `{"index":{"_id":"7","routing":"a"}}
{"user":"kim","n":9007199254740993}
{"delete":{"_id":"7","routing":"a"}}
{"delete":{"_id":"7","routing":"a"}}
`
	for d, err := range layout.Documents(strings.NewReader(file), "people") {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(d.Index, d.ID, d.Routing, d.Deleted, string(d.Source))
	}
	// Output:
	// people 7 a false {"user":"kim","n":9007199254740993}
	// people 7 a true
}

func ExampleDocument_AppendLines() {
	d := layout.Document{ID: "7", Source: []byte("{\n  \"n\" : 1.0\n}")}
	lines, err := d.AppendLines(nil)
	fmt.Printf("%s%v\n", lines, err)
	// Output:
	// {"index":{"_id":"7"}}
	// {"n":1.0}
	// <nil>
}

func ExampleReadManifest() {
	backup := fstest.MapFS{layout.ManifestPath: {Data: []byte(`{"format":1,"cluster":{"name":"shop"},"indices":[{"name":"orders","docs":3}]}`)}}
	m, err := layout.ReadManifest(backup)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, ix := range m.Indices {
		fmt.Println(m.Cluster.Name, ix.Name, ix.Docs)
	}
	_, err = layout.ReadManifest(fstest.MapFS{})
	fmt.Println(err)
	// Output:
	// shop orders 3
	// read manifest.json: open manifest.json: file does not exist
}
