package restore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/zeebo/xxh3"
	"golang.org/x/sync/semaphore"

	"github.com/escrow-backup/escrow/internal/elastic"
	"github.com/escrow-backup/escrow/layout"
)

// batch is the body of one bulk request and what is in it. No id stands in it twice: two requests for one id, one of
// which has to be sent again, could otherwise change places.
type batch struct {
	body  []byte
	to    string // where the first document goes, and all that name no index
	items []item
	ids   map[uint64]struct{} // hashes of index and id
	large int64               // of sender.large, that it holds
}

type item struct {
	index, id, routing string
	start, source, end int // in body: the item, its source (0 for a delete), the byte after it
	versioned, deleted bool
	version            int64
	unsure             bool // an attempt ended so that the server may have written the document
	unreached          int  // attempts in a row in which its shard had no primary
}

// reset empties the batch. It keeps its memory, unless that is much more than a body is meant to have.
func (b *batch) reset(size int) {
	b.body, b.items, b.large = b.body[:0], b.items[:0], 0
	if cap(b.body) > 2*size {
		b.body = nil
	}
	clear(b.ids)
}

func (b *batch) bytesOf(it *item) []byte { return b.body[it.start:it.end] }

func (b *batch) document(it *item) Document {
	d := Document{Index: it.index, ID: it.id, Routing: it.routing, SeqNo: -1, Deleted: it.deleted, Versioned: it.versioned, Version: it.version}
	if !it.deleted {
		d.Source = b.body[it.source : it.end-1]
	}
	return d
}

// idHash tells documents apart: equal index and id give the same lane and never share a request.
func idHash(index, id string) uint64 {
	return xxh3.HashString(index)*0x9e3779b97f4a7c15 ^ xxh3.HashString(id)
}

// checkDocument finds what would spoil the whole request.
func checkDocument(d *Document) error {
	switch {
	case d.Index == "":
		return fmt.Errorf("document %q names no index", d.ID)
	case d.ID == "":
		return fmt.Errorf("index %s: a document has no id", d.Index)
	case !utf8.ValidString(d.ID) || !utf8.ValidString(d.Routing):
		return fmt.Errorf("index %s: document %q: id or routing is no valid UTF-8", d.Index, d.ID)
	case d.Deleted:
		return nil
	}
	src := bytes.TrimSpace(d.Source)
	if len(src) < 2 || src[0] != '{' || src[len(src)-1] != '}' {
		return fmt.Errorf("index %s: document %q: source is no JSON object", d.Index, d.ID)
	}
	return nil
}

// add appends a document, addressed to the given name.
func (b *batch) add(d *Document, hash uint64, to string) error {
	it := item{index: d.Index, id: d.ID, routing: d.Routing, deleted: d.Deleted, versioned: d.Versioned, version: d.Version, start: len(b.body)}
	body := b.body
	if d.Deleted {
		body = append(body, `{"delete":{`...)
	} else {
		body = append(body, `{"index":{`...)
	}
	if len(b.items) == 0 {
		b.to = to
	} else if to != b.to {
		body = append(body, `"_index":`...)
		body = layout.AppendString(body, to)
		body = append(body, ',')
	}
	body = append(body, `"_id":`...)
	body = layout.AppendString(body, d.ID)
	if d.Routing != "" {
		body = append(body, `,"routing":`...)
		body = layout.AppendString(body, d.Routing)
	}
	body = d.AppendVersion(body)
	body = append(body, "}}\n"...)
	if !d.Deleted {
		it.source = len(body)
		if bytes.IndexByte(d.Source, '\n') < 0 {
			body = append(body, d.Source...)
		} else {
			var err error
			if body, err = layout.AppendCompact(body, d.Source); err != nil {
				return fmt.Errorf("index %s: document %q: compact source: %w", d.Index, d.ID, err)
			}
		}
		body = append(body, '\n')
	}
	it.end = len(body)
	b.body, b.items = body, append(b.items, it)
	if b.ids == nil {
		b.ids = map[uint64]struct{}{}
	}
	b.ids[hash] = struct{}{}
	return nil
}

// sender sends batches and accounts for every item of them. Its methods may be called concurrently.
type sender struct {
	once  *elastic.Client // does not retry: what an attempt may have left behind must be known here
	o     *Options
	lanes int  // bulk requests at once
	fresh bool // the index is new: nothing may exist already
	// alias, if not empty, is what all documents are addressed to. It must be an alias: a request that is still on its way when
	// the index is deleted again would otherwise make an index anew, with whatever is in it.
	alias string
	rej   *rejections
	large *semaphore.Weighted // see largeRoom

	documents, bytes, retried, rejected atomic.Int64
	// overwrote is set when a document of a fresh index existed after an attempt that ended unclear: the count of the index
	// then tells whether it was that attempt.
	overwrote atomic.Int64
	progress  func(index string, docs, bytes int64)
}

// send sends a batch until every item of it is acknowledged or refused for good.
func (s *sender) send(ctx context.Context, b *batch) error {
	all := make([]*item, len(b.items))
	for i := range b.items {
		all[i] = &b.items[i]
	}
	return s.items(ctx, b, all, b.body)
}

// items sends some items of a batch. body holds exactly their bytes. It gives up after Options.Retries attempts in a row that
// none of the items got through, and where a shard cannot be reached, after as many in a row for an item in it: what other shards take says
// nothing about that one.
func (s *sender) items(ctx context.Context, b *batch, items []*item, body []byte) error {
	for attempt := 0; len(items) > 0; attempt++ {
		left, cause, err := s.attempt(ctx, b, items, body)
		if err != nil {
			return err
		}
		if len(left) == 0 {
			return nil
		}
		if tooLarge(cause) {
			return s.split(ctx, b, items, cause)
		}
		if i := slices.IndexFunc(left, func(l unanswered) bool { return l.item.unreached > max(s.o.Retries, 0) }); i >= 0 {
			return fmt.Errorf("index %s: document %q: status 503 %s: %s (after %d attempts)", left[i].item.index, left[i].item.id, left[i].typ,
				clip(left[i].reason), left[i].item.unreached)
		}
		if len(left) < len(items) {
			attempt = 0 // it goes on, if slowly
		}
		if attempt >= s.o.Retries {
			if cause != nil {
				return fmt.Errorf("index %s: %w", items[0].index, cause)
			}
			s.refuse(b, left)
			return nil
		}
		s.retried.Add(int64(len(left)))
		if err := s.once.Sleep(ctx, elastic.Backoff(attempt)); err != nil {
			return err
		}
		if len(left) < len(items) {
			body = nil
			for _, l := range left {
				body = append(body, b.bytesOf(l.item)...)
			}
		}
		items = items[:0]
		for _, l := range left {
			items = append(items, l.item)
		}
	}
	return nil
}

// unanswered is an item that has to be sent again.
type unanswered struct {
	item   *item
	status int
	typ    string
	reason string
}

// shardTimeout is how long the server waits in a bulk request for a shard whose primary is nowhere, and for a change of the mapping. Its own
// default, a minute, times the attempts would be a long time to find out that a node does not come back.
const shardTimeout = "10s"

// answered is what of an answer is looked at: it is less than half of it. An error of the whole request is filtered too.
const answered = "error,status,items.*._id,items.*.result,items.*.status,items.*.error"

// attempt sends a request once. It returns the items that have to be sent again, with the cause if it was the whole request,
// or an error that no repetition helps against.
func (s *sender) attempt(ctx context.Context, b *batch, items []*item, body []byte) ([]unanswered, error, error) {
	sent := 0
	// A transport may send again by itself after a broken connection. That must be known: the first one may have been done.
	tctx := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{WroteHeaders: func() { sent++ }})
	query := url.Values{"pipeline": {"_none"}, "timeout": {shardTimeout}, "filter_path": {answered}}
	if s.alias != "" {
		query.Set("require_alias", "true")
	}
	res, err := s.once.Do(tctx, elastic.Request{
		Method: "POST", Path: "/" + elastic.PathEscape(b.to) + "/_bulk", Query: query,
		Body: body, ContentType: "application/x-ndjson", Once: true,
	})
	if sent > 1 {
		unsure(items)
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, nil, context.Cause(ctx)
		}
		if !elastic.Retryable(err) && !tooLarge(err) {
			return nil, nil, fmt.Errorf("index %s: %w", items[0].index, err)
		}
		if st := statusOf(err); st != 429 && st != 413 {
			unsure(items)
		}
		return pending(items), err, nil
	}
	left, err := s.account(b, items, res.Body)
	if err != nil {
		return nil, nil, fmt.Errorf("index %s: %w", items[0].index, err)
	}
	return left, nil, nil
}

func unsure(items []*item) {
	for _, it := range items {
		it.unsure = true
	}
}

func pending(items []*item) []unanswered {
	left := make([]unanswered, len(items))
	for i, it := range items {
		left[i].item = it
	}
	return left
}

func statusOf(err error) int {
	var e *elastic.Error
	if errors.As(err, &e) {
		return e.Status
	}
	return 0
}

func tooLarge(err error) bool { return statusOf(err) == 413 }

// account matches the answer's items to those sent, in order.
func (s *sender) account(b *batch, items []*item, answer []byte) ([]unanswered, error) {
	var left []unanswered
	var docs, size int64
	n, err := parseBulk(answer, func(i int, o *outcome) error {
		if i >= len(items) {
			return fmt.Errorf("more items than the %d that were sent", len(items))
		}
		it := items[i]
		if !o.sameID(it.id) {
			return fmt.Errorf("item %d answers id %q, sent was %q", i, clip(string(o.id)), it.id)
		}
		if o.err != nil {
			typ, reason := o.cause()
			if o.status == 429 || o.status == 503 || mappingLate(typ, reason) {
				if o.status == 503 {
					it.unsure = true
					it.unreached++
				} else {
					it.unreached = 0
				}
				left = append(left, unanswered{item: it, status: o.status, typ: typ, reason: reason})
				return nil
			}
			s.reject(b, it, o.status, typ, reason)
			return nil
		}
		ok, err := s.accept(b, it, o)
		if ok && !it.deleted {
			docs++
			size += int64(it.end - it.source - 1)
		}
		return err
	})
	// What was acknowledged stays acknowledged, also when the answer turns out to be no good.
	s.documents.Add(docs)
	s.bytes.Add(size)
	if err != nil {
		return nil, err
	}
	if n != len(items) {
		return nil, fmt.Errorf("answer to a bulk request: %d items, sent were %d", n, len(items))
	}
	if s.progress != nil {
		s.progress(items[0].index, docs, size)
	}
	return left, nil
}

// mappingLate says that a document brought a new field, and that the node did not hear of it from the master within shardTimeout.
func mappingLate(typ, reason string) bool {
	return typ == "mapper_exception" && strings.HasPrefix(reason, "timed out while waiting for a dynamic mapping update")
}

// accept judges an item without an error.
func (s *sender) accept(b *batch, it *item, o *outcome) (bool, error) {
	result := string(o.result)
	if it.deleted {
		if result == "deleted" || result == "not_found" {
			return true, nil
		}
		return false, fmt.Errorf("document %q: delete answered %q, status %d", it.id, result, o.status)
	}
	switch {
	case o.status != 200 && o.status != 201 || result != "created" && result != "updated":
		return false, fmt.Errorf("document %q: answered %q, status %d", it.id, result, o.status)
	case result == "updated" && s.fresh:
		if !it.unsure {
			s.reject(b, it, o.status, "id_exists", "the id already exists: two documents of the backup have this id and meet in one shard")
			return false, nil
		}
		s.overwrote.Add(1)
	}
	return true, nil
}

func (s *sender) reject(b *batch, it *item, status int, typ, reason string) {
	s.rejected.Add(1)
	s.rej.add(Rejection{Document: b.document(it), Status: status, Type: typ, Reason: reason})
}

// refuse gives up on items that the server kept rejecting for now.
func (s *sender) refuse(b *batch, left []unanswered) {
	for _, l := range left {
		s.reject(b, l.item, l.status, l.typ, fmt.Sprintf("%s (after %d attempts)", l.reason, max(s.o.Retries, 0)+1))
	}
}

// split sends a request that was too large in two halves.
func (s *sender) split(ctx context.Context, b *batch, items []*item, cause error) error {
	if len(items) == 1 {
		s.reject(b, items[0], 413, "request_too_large", fmt.Sprintf("%d bytes: %v", items[0].end-items[0].start, cause))
		return nil
	}
	for _, half := range [][]*item{items[:len(items)/2], items[len(items)/2:]} {
		var body []byte
		for _, it := range half {
			body = append(body, b.bytesOf(it)...)
		}
		if err := s.items(ctx, b, half, body); err != nil {
			return err
		}
	}
	return nil
}
