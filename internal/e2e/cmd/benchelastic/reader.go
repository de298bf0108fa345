package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// The ways to read that are the fastest. Both throw away what they read.
const (
	inOrder  = "order"  // a point in time and a stream for each shard, in the order in which documents lie, page after page
	byRanges = "ranges" // a range of sequence numbers a request, some at a time: nothing of an answer is looked at
)

const pageDocs = 5000

// read reads an index of two shards, and is no more careful than it must be to have read it.
func (t *task) read(ctx context.Context) (*outcome, error) {
	out := &outcome{}
	var read atomic.Int64
	var err error
	out.Cost, err = t.timed(func() error {
		g, ctx := errgroup.WithContext(ctx)
		if t.Method == byRanges {
			g.SetLimit(t.Concurrency)
		}
		for n := range 2 {
			var pit struct{ ID string }
			if err := call(ctx, "POST", fmt.Sprintf("%s/%s/_pit?keep_alive=5m&preference=_shards:%d", t.URL, t.Index, n), "", &pit); err != nil {
				return err
			}
			if t.Method == inOrder {
				g.Go(func() error { return t.pages(ctx, pit.ID, &read) })
			} else if err := t.ranges(ctx, g, pit.ID, &read); err != nil {
				return errors.Join(err, g.Wait())
			}
			defer func() { // the point in time ends by itself, should this fail
				_ = call(context.WithoutCancel(ctx), "DELETE", t.URL+"/_pit", fmt.Sprintf(`{"id":%q}`, pit.ID), nil)
			}()
		}
		return g.Wait()
	})
	out.Wire = read.Load()
	return out, err
}

func (t *task) search(ctx context.Context, body string) (io.ReadCloser, error) {
	res, err := request(ctx, "POST", t.URL+"/_search", []byte(body))
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// ranges begins to read a shard, and returns when all of it is on its way.
func (t *task) ranges(ctx context.Context, g *errgroup.Group, pit string, read *atomic.Int64) error {
	var counted struct {
		Aggregations struct{ Highest struct{ Value float64 } }
	}
	if err := call(ctx, "POST", t.URL+"/_search", fmt.Sprintf(`{"size":0,"pit":{"id":%q},"aggs":{"highest":{"max":{"field":"_seq_no"}}}}`, pit), &counted); err != nil {
		return err
	}
	for from := 0; from <= int(counted.Aggregations.Highest.Value); from += pageDocs {
		g.Go(func() error {
			answer, err := t.search(ctx, fmt.Sprintf(`{"size":%d,"track_total_hits":false,"pit":{"id":%q,"keep_alive":"5m"},"sort":[{"_seq_no":"asc"}],
				"query":{"range":{"_seq_no":{"gte":%d,"lt":%d}}}}`, pageDocs, pit, from, from+pageDocs))
			if err != nil {
				return err
			}
			n, err := io.Copy(io.Discard, answer)
			read.Add(n)
			return errors.Join(err, answer.Close())
		})
	}
	return nil
}

// pages reads a shard. Of an answer it looks at the last hit's sort values alone.
func (t *task) pages(ctx context.Context, pit string, read *atomic.Int64) error {
	after := ""
	var page bytes.Buffer
	for {
		answer, err := t.search(ctx, fmt.Sprintf(`{"size":%d,"track_total_hits":false,"pit":{"id":%q,"keep_alive":"5m"},"sort":[{"_shard_doc":"asc"}]%s}`,
			pageDocs, pit, after))
		if err != nil {
			return err
		}
		page.Reset()
		n, err := page.ReadFrom(answer)
		read.Add(n)
		if err := errors.Join(err, answer.Close()); err != nil {
			return err
		}
		const key = `"sort":[`
		i := bytes.LastIndex(page.Bytes(), []byte(key))
		if i < 0 {
			return nil
		}
		rest := page.Bytes()[i+len(key):]
		var last json.Number
		if err := json.Unmarshal(rest[:max(bytes.IndexByte(rest, ']'), 0)], &last); err != nil {
			return fmt.Errorf("sort values %.40q: %w", rest, err)
		}
		after = fmt.Sprintf(`,"search_after":[%s]`, last)
	}
}
