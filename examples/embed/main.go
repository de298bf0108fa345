// Command embed copies the documents of one index into another, which must exist, and masks a field on the way. It shows
// the two pipelines that everything in escrow is made of, and that your program can put anything between.
//
//	ELASTICSEARCH_URL=http://127.0.0.1:9200 go run ./examples/embed customers customers-test email
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"os"
	"os/signal"
	"syscall"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8"

	"github.com/escrow-backup/escrow/backup"
	"github.com/escrow-backup/escrow/restore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	url := env("ELASTICSEARCH_URL")
	if len(args) != 3 || url == "" {
		fmt.Fprintln(stderr, "usage: ELASTICSEARCH_URL=... embed FROM TO FIELD")
		return 2
	}
	es, err := elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{url}})
	if err == nil {
		var n int64
		if n, err = copyMasked(ctx, es, args[0], args[1], args[2]); err == nil {
			fmt.Fprintf(stdout, "copied %d documents\n", n)
			return 0
		}
	}
	fmt.Fprintf(stderr, "embed: %v\n", err)
	return 1
}

// copyMasked streams: it holds a few documents at a time, however large the index is. It fails unless every document
// arrived.
func copyMasked(ctx context.Context, es elastictransport.Interface, from, to, field string) (int64, error) {
	docs := backup.Documents(ctx, es, &backup.Options{Indices: []string{from}})
	res, err := restore.Load(ctx, es, mask(docs, to, field), nil)
	if err != nil {
		return 0, err
	}
	return res.Documents, nil
}

// mask sends every document to the index to, with "***" in place of the field where it has it.
func mask(docs iter.Seq2[backup.Document, error], to, field string) iter.Seq2[restore.Document, error] {
	return func(yield func(restore.Document, error) bool) {
		for d, err := range docs {
			if err == nil {
				d.Index = to
				d.Source, err = masked(d.Source, field)
			}
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// masked leaves a source without the field exactly as it is. In others the values of all other fields stay as they are: raw
// messages keep numbers that a float64 would lose.
func masked(source []byte, field string) ([]byte, error) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(source, &fields); err != nil {
		return nil, fmt.Errorf("mask %s: %w", field, err)
	}
	if _, ok := fields[field]; !ok {
		return source, nil
	}
	fields[field] = json.RawMessage(`"***"`)
	return json.Marshal(fields)
}
