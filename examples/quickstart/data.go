package main

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/escrow-backup/escrow/restore"
)

// index is one of the shop's indices.
type index struct {
	name  string // as a person calls it; the cluster's name may have a prefix
	docs  int
	about string // for the output
	body  string // of the request that creates it; %s is the prefix of the aliases
	make  func(r *rand.Rand, i int) restore.Document
}

// The shop. Logs only grow, orders are changed while they are young and are routed by customer, products hardly change.
var shop = []index{
	{
		name: "logs", docs: 40_000, about: "2 shards, filtered alias",
		body: `{
			"settings": {"index": {"number_of_shards": 2, "number_of_replicas": 0}},
			"mappings": {"properties": {
				"@timestamp": {"type": "date"}, "level": {"type": "keyword"}, "service": {"type": "keyword"},
				"client": {"type": "ip"}, "status": {"type": "short"}, "took_ms": {"type": "float"},
				"trace": {"type": "keyword"}, "message": {"type": "text"}}},
			"aliases": {"%[1]serrors": {"filter": {"term": {"level": "error"}}}}}`,
		make: logLine,
	},
	{
		name: "orders", docs: 15_000, about: "3 shards, routed by customer, filtered alias",
		body: `{
			"settings": {"index": {"number_of_shards": 3, "number_of_replicas": 0}},
			"mappings": {"_routing": {"required": true}, "properties": {
				"customer": {"type": "keyword"}, "placed": {"type": "date"}, "status": {"type": "keyword"},
				"number": {"type": "long"}, "total": {"type":"double"},
				"items": {"properties": {"sku": {"type": "keyword"}, "quantity": {"type": "integer"}, "price": {"type": "double"}}}}},
			"aliases": {"%[1]sopen-orders": {"filter": {"term": {"status": "open"}}}}}`,
		make: order,
	},
	{
		name: "products", docs: 5_000, about: "1 shard, alias",
		body: `{
			"settings": {"index": {"number_of_shards": 1, "number_of_replicas": 0}},
			"mappings": {"properties": {
				"sku": {"type": "keyword"}, "name": {"type": "text", "fields": {"raw": {"type": "keyword"}}},
				"price": {"type": "double"}, "stock": {"type": "integer"}, "description": {"type": "text"}}},
			"aliases": {"%[1]scatalogue": {}}}`,
		make: product,
	},
}

var began = time.Date(2026, time.March, 1, 6, 0, 0, 0, time.UTC)

var (
	services = []string{"checkout", "search", "payment", "stock", "mail", "login"}
	verbs    = []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	paths    = []string{"/cart", "/orders", "/products", "/search", "/session", "/health", "/images"}
	words    = []string{"walnut", "copper", "linen", "travel", "kettle", "lamp", "chair", "mirror", "clock", "basket", "blue",
		"grey", "small", "folding", "garden", "kitchen", "café", "grün", "ночь", "東京", "🪑"}
	states = []string{"paid", "paid", "shipped", "shipped", "shipped", "returned"}
)

// random is seeded by what it is for and the number of the document, so that every run makes the same documents.
func random(ix index, i int) *rand.Rand {
	return rand.New(rand.NewPCG(uint64(len(ix.name))<<32|uint64(ix.name[0]), uint64(i)))
}

// documents generates documents number from up to, not including, to.
func documents(ix index, name string, from, to int) iter.Seq2[restore.Document, error] {
	return func(yield func(restore.Document, error) bool) {
		for i := from; i < to; i++ {
			d := ix.make(random(ix, i), i)
			d.Index, d.SeqNo = name, -1
			if !yield(d, nil) {
				return
			}
		}
	}
}

func pick(r *rand.Rand, from []string) string { return from[r.IntN(len(from))] }

func sentence(r *rand.Rand, n int) string {
	s := make([]string, n)
	for i := range s {
		s[i] = pick(r, words)
	}
	return strings.Join(s, " ")
}

func logLine(r *rand.Rand, i int) restore.Document {
	level, status := "info", 200
	switch r.IntN(50) {
	case 0:
		level, status = "error", 500+r.IntN(4)
	case 1, 2, 3:
		level, status = "warn", 400+r.IntN(30)
	}
	path := fmt.Sprintf("%s/%d", pick(r, paths), r.IntN(5000))
	return restore.Document{
		ID: fmt.Sprintf("%s-%08d", "log", i),
		Source: fmt.Appendf(nil, `{"@timestamp":%q,"level":%q,"service":%q,"client":"10.%d.%d.%d","status":%d,"took_ms":%.2f,`+
			`"trace":"%016x%016x","message":"%s %s answered %d to a visitor who looked for %s"}`,
			began.Add(time.Duration(i)*731*time.Millisecond).Format("2006-01-02T15:04:05.000Z"), level, pick(r, services),
			r.IntN(256), r.IntN(256), r.IntN(256), status, r.ExpFloat64()*40, r.Uint64(), r.Uint64(), pick(r, verbs), path,
			status, sentence(r, 3)),
	}
}

func order(r *rand.Rand, i int) restore.Document {
	customer := fmt.Sprintf("customer %d", r.IntN(2500))
	status := pick(r, states)
	if i > 14_500 {
		status = "open"
	}
	var items []byte
	total := 0.0
	for n := range 1 + r.IntN(4) {
		if n > 0 {
			items = append(items, ',')
		}
		quantity, price := 1+r.IntN(3), float64(199+r.IntN(20_000))/100
		total += float64(quantity) * price
		items = fmt.Appendf(items, `{"sku":"P-%05d","quantity":%d,"price":%.2f}`, r.IntN(5000), quantity, price)
	}
	// The order's number is above 2^53, where a double would lose it.
	return restore.Document{
		ID: fmt.Sprintf("order/%d", i), Routing: customer,
		Source: fmt.Appendf(nil, `{"customer":%q,"placed":%q,"status":%q,"number":%d,"total":%.2f,"items":[%s]}`, customer,
			began.Add(time.Duration(i)*7*time.Minute).Format(time.RFC3339), status, 9_007_199_254_740_993+int64(i), total, items),
	}
}

func product(r *rand.Rand, i int) restore.Document {
	return restore.Document{
		ID: fmt.Sprintf("P-%05d", i),
		Source: fmt.Appendf(nil, `{"sku":"P-%05d","name":"%s","price":%.2f,"stock":%d,"description":"%s"}`, i, sentence(r, 2),
			float64(199+r.IntN(20_000))/100, r.IntN(400), sentence(r, 25)),
	}
}
