package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/elastic/go-elasticsearch/v8/esapi"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/restore"
)

// cleanupTime bounds the removal of the indices after an interruption.
const cleanupTime = 30 * time.Second

// redacted is the URL without what must not be shown.
func redacted(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "the given URL"
	}
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// cleanup removes the indices that this run created from a real cluster, also after ctx has ended.
func (d *demo) cleanup(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTime)
	defer cancel()
	// A request that was cut off may still be at work on the server, and make an index anew: all must be found gone.
	for {
		gone := true
		for _, name := range d.created {
			switch err := d.drop(ctx, []string{name}); {
			case err == nil:
				gone = false
			case !errors.Is(err, errNotFound):
				return err
			}
		}
		if gone {
			return nil
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (d *demo) create(ctx context.Context, name, body string) error {
	res, err := d.es.Indices.Create(name, d.es.Indices.Create.WithContext(ctx),
		d.es.Indices.Create.WithBody(strings.NewReader(body)))
	if err := answer("create index "+name, res, err, nil); err != nil {
		return err
	}
	d.created = append(d.created, name)
	return nil
}

func (d *demo) drop(ctx context.Context, names []string) error {
	res, err := d.es.Indices.Delete(names, d.es.Indices.Delete.WithContext(ctx))
	return answer("delete index "+strings.Join(names, ","), res, err, nil)
}

var errNotFound = errors.New("not found")

// answer reads a response to its end, and says what went wrong.
func answer(what string, res *esapi.Response, err error, into any) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	switch {
	case res.StatusCode == http.StatusNotFound:
		return fmt.Errorf("%s: %w", what, errNotFound)
	case res.IsError():
		return fmt.Errorf("%s: status %d: %.300s", what, res.StatusCode, body)
	case into == nil:
		return nil
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// bulk is the body of a _bulk request.
type bulk struct {
	body  []byte
	items int
}

// index writes the document anew, with one piece of its source replaced.
func (b *bulk) index(doc restore.Document, old, new string) error {
	doc.Source = bytes.Replace(doc.Source, []byte(old), []byte(new), 1)
	body, err := doc.AppendLines(b.body)
	if err != nil {
		return err
	}
	b.body, b.items = body, b.items+1
	return nil
}

func (b *bulk) remove(doc restore.Document) {
	b.body, b.items = doc.AppendAction(b.body, "delete"), b.items+1
}

// send sends the requests, all of which must succeed.
func (d *demo) send(ctx context.Context, index string, b *bulk) error {
	var got struct {
		Errors bool              `json:"errors"`
		Items  []json.RawMessage `json:"items"`
	}
	res, err := d.es.Bulk(bytes.NewReader(b.body), d.es.Bulk.WithContext(ctx), d.es.Bulk.WithIndex(index))
	if err := answer("change index "+index, res, err, &got); err != nil {
		return err
	}
	if got.Errors || len(got.Items) != b.items {
		return fmt.Errorf("change index %s: not every change was accepted", index)
	}
	return nil
}

// connect starts the cluster in memory, or reaches the given one. The function that it returns undoes what the program did
// to it.
func (d *demo) connect(ctx context.Context) (stop func() error, err error) {
	if d.url == "" {
		server := estest.New(nil, nil)
		d.es = server.Client()
		return func() error { server.Close(); return nil }, nil
	}
	// A random number, so that two runs do not meet in one cluster.
	d.prefix = fmt.Sprintf("escrow-quickstart-%08x-", rand.Uint32())
	d.es, err = appbinding.Config{
		URL: d.url, Username: d.env("ES_USERNAME"), Password: d.env("ES_PASSWORD"), APIKey: d.env("ES_API_KEY"),
	}.Connect(ctx, nil)
	if err != nil {
		return nil, err
	}
	return func() error { return d.cleanup(ctx) }, nil
}
