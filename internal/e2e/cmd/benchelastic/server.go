package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/escrow-backup/escrow/internal/e2e/measure"
)

// server is the Elasticsearch, as curl would see it.
type server struct {
	url  string
	pid  int
	hard bool
	// Documents come from four clients at a time in small requests, and are merged when all are there.
	scattered bool
	idle      float64 // CPU seconds that it takes in a second without requests
}

// plain asks for no gzip, which would cost the server more than all else.
var plain = &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 16}}

// request sends a request and returns the answer of one that went well. The caller closes it.
func request(ctx context.Context, method, url string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := plain.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode >= 300 {
		text, err := io.ReadAll(io.LimitReader(res.Body, 4096))
		return nil, errors.Join(fmt.Errorf("%s %s: %s: %s", method, url, res.Status, text), err, res.Body.Close())
	}
	return res, nil
}

// call is request, and decodes the answer into out unless that is nil.
func call(ctx context.Context, method, url, body string, out any) error {
	res, err := request(ctx, method, url, []byte(body))
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil || out == nil {
		return err
	}
	return json.Unmarshal(b, out)
}

// create makes an empty index.
func (s *server) create(ctx context.Context, index string) error {
	settings, nested := "", ""
	if s.hard || s.scattered {
		settings = `,"codec":"best_compression"`
	}
	if s.hard {
		nested = `,"tags":{"type":"nested","properties":{"key":{"type":"keyword"},"value":{"type":"keyword"}}}`
	}
	return call(ctx, "PUT", s.url+"/"+index, `{"settings":{"number_of_shards":2,"number_of_replicas":0`+settings+`},"mappings":{
		"dynamic_templates":[{"texts":{"match_mapping_type":"string","mapping":{"type":"keyword"}}}],
		"properties":{"@timestamp":{"type":"date"},"message":{"type":"text"},"client":{"properties":{"ip":{"type":"ip"}}}`+nested+`}}}`, nil)
}

func (s *server) remove(ctx context.Context, index string) error {
	return call(ctx, "DELETE", s.url+"/"+index+"?ignore_unavailable=true", "", nil)
}

// id is the n-th document's: as long as those that the server makes.
func id(n int) string {
	sum := sha256.Sum256(fmt.Append(nil, n))
	return base64.RawURLEncoding.EncodeToString(sum[:15])
}

// fill makes an index with n documents, and returns the bytes of their _source.
func (s *server) fill(ctx context.Context, index string, n int) (int64, error) {
	if err := s.create(ctx, index); err != nil {
		return 0, err
	}
	bytes, err := s.write(ctx, index, 0, n, func(i int) int { return i })
	if err == nil && s.scattered {
		err = call(ctx, "POST", s.url+"/"+index+"/_forcemerge?max_num_segments=1", "", nil)
	}
	return bytes, err
}

// write indexes n documents, the i-th under the id of number(i), and refreshes.
func (s *server) write(ctx context.Context, index string, seed uint64, n int, number func(i int) int) (bytes int64, err error) {
	g, gctx := errgroup.WithContext(ctx)
	writers, size := 2, 5<<20
	if s.scattered {
		writers, size = 4, 200<<10
	}
	g.SetLimit(writers)
	log := newLogger(seed, s.hard)
	var body, line []byte
	send := func() {
		b := body
		body = nil
		g.Go(func() error { return bulk(gctx, s.url+"/"+index, b) })
	}
	for i := range n {
		line = log.append(line[:0])
		bytes += int64(len(line))
		body = fmt.Appendf(body, `{"index":{"_id":%q}}`+"\n", id(number(i)))
		if body = append(append(body, line...), '\n'); len(body) > size {
			send()
		}
	}
	if len(body) > 0 {
		send()
	}
	if err := g.Wait(); err != nil {
		return 0, err
	}
	return bytes, call(ctx, "POST", s.url+"/"+index+"/_refresh", "", nil)
}

// update writes one of a hundred of the first n documents anew.
func (s *server) update(ctx context.Context, seed uint64, n int) error {
	chosen := rand.New(rand.NewPCG(seed, 4)).Perm(n)[:n/100]
	_, err := s.write(ctx, logs, seed, len(chosen), func(i int) int { return chosen[i] })
	return err
}

// deleteSome deletes one of a hundred of the documents up to n, those that are there.
func (s *server) deleteSome(ctx context.Context, index string, seed uint64, n int) error {
	var body []byte
	for _, i := range rand.New(rand.NewPCG(seed, 5)).Perm(n)[:n/100] {
		body = fmt.Appendf(body, `{"delete":{"_id":%q}}`+"\n", id(i))
	}
	if err := bulk(ctx, s.url+"/"+index, body); err != nil {
		return err
	}
	return call(ctx, "POST", s.url+"/"+index+"/_refresh", "", nil)
}

// bulk sends a body, all of whose items must go well.
func bulk(ctx context.Context, index string, body []byte) error {
	res, err := request(ctx, "POST", index+"/_bulk?filter_path=errors", body)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(res.Body)
	if err := errors.Join(err, res.Body.Close()); err != nil {
		return err
	}
	if strings.TrimSpace(string(text)) != `{"errors":false}` {
		return fmt.Errorf("bulk: %s", text)
	}
	return nil
}

// count is how many documents an index shows.
func (s *server) count(ctx context.Context, index string) (int, error) {
	var out struct{ Count int }
	err := call(ctx, "GET", s.url+"/"+index+"/_count", "", &out)
	return out.Count, err
}

// settle waits until the server has nothing left to do of what was before, such as merges; it measures what it takes without requests.
func (s *server) settle(ctx context.Context) error {
	const step = time.Second
	for range 60 {
		before, err := measure.ProcessCPU(s.pid)
		if err != nil {
			return err
		}
		select {
		case <-time.After(step):
		case <-ctx.Done():
			return ctx.Err()
		}
		after, err := measure.ProcessCPU(s.pid)
		if err != nil {
			return err
		}
		if used := (after - before) / step.Seconds(); used < 0.1 {
			return nil
		}
	}
	return errors.New("the server is busy, though nobody asks it for anything")
}

// rest measures what the server takes in some seconds without requests.
func (s *server) rest(ctx context.Context) error {
	if err := s.settle(ctx); err != nil {
		return err
	}
	c, err := timed(s.pid, func() error {
		select {
		case <-time.After(10 * time.Second):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s.idle = c.Server / c.Wall
	return err
}

// timed measures what do takes.
func timed(pid int, do func() error) (cost, error) {
	server, err := measure.ProcessCPU(pid)
	if err != nil {
		return cost{}, err
	}
	own, start := measure.OwnCPU(), time.Now()
	if err := do(); err != nil {
		return cost{}, err
	}
	c := cost{Wall: time.Since(start).Seconds(), CPU: measure.OwnCPU() - own}
	after, err := measure.ProcessCPU(pid)
	c.Server = after - server
	return c, err
}
