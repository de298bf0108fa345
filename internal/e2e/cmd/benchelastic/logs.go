package main

import (
	"fmt"
	"math/rand/v2"
	"time"
)

// logger makes documents as a log shipper in a cluster sends them: most of a document says where it comes from, and repeats in others; times, numbers,
// addresses and trace ids do not. The same seed gives the same ones.
type logger struct {
	r      *rand.Rand
	at     time.Time
	agents [40]string // ids
	hard   bool
}

func newLogger(seed uint64, hard bool) *logger {
	l := &logger{r: rand.New(rand.NewPCG(seed, 2)), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), hard: hard}
	ids := rand.New(rand.NewPCG(1, 2))
	for i := range l.agents {
		l.agents[i] = fmt.Sprintf("%08x-%04x-4%03x-%012x", ids.Uint32(), ids.Uint32N(1<<16), ids.Uint32N(1<<12), ids.Uint64N(1<<48))
	}
	return l
}

var (
	levels   = []string{"info", "info", "info", "info", "warn", "error"}
	services = []string{"checkout", "catalog", "identity", "payments", "search", "shipping", "frontend", "recommendation"}
	verbs    = []string{"GET", "GET", "GET", "POST", "PUT", "DELETE"}
	things   = []string{"orders", "users", "carts", "products", "sessions", "invoices"}
	browsers = []string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:133.0) Gecko/20100101 Firefox/133.0",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
		"kube-probe/1.34",
	}
)

// append appends a document.
func (l *logger) append(b []byte) []byte {
	r := l.r
	pick := func(from []string) string { return from[r.IntN(len(from))] }
	l.at = l.at.Add(time.Duration(r.IntN(2000)) * time.Microsecond)
	host, service, pod := r.IntN(len(l.agents)), pick(services), r.IntN(6)
	path := fmt.Sprintf("/api/v1/%s/%d", pick(things), r.IntN(1_000_000))
	verb, status, took := pick(verbs), 200+r.IntN(4)*100+r.IntN(5), float64(r.IntN(500_000))/1000
	ip := fmt.Sprintf("10.%d.%d.%d", r.IntN(4), r.IntN(256), r.IntN(256))
	b = fmt.Appendf(b, `{"@timestamp":"%s","ecs":{"version":"8.11.0"},"agent":{"type":"filebeat","version":"8.19.0","id":"%s"},"host":{"name":"node-%02d.example.com"},`,
		l.at.Format("2006-01-02T15:04:05.000000Z"), l.agents[host], host)
	b = fmt.Appendf(b, `"log":{"offset":%d,"file":{"path":"/var/log/containers/%s-7d9f8b6c5-x%dk_shop.log"}},`, r.IntN(100_000_000), service, pod)
	b = fmt.Appendf(b, `"kubernetes":{"namespace":"shop","pod":{"name":"%s-7d9f8b6c5-x%dk"},"container":{"name":"%s"},"labels":{"app":"%s","tier":"backend"}},`,
		service, pod, service, service)
	b = fmt.Appendf(b, `"level":"%s","http":{"method":"%s","path":"%s","status":%d,"bytes":%d,"took_ms":%.3f},"client":{"ip":"%s"},"user_agent":"%s","trace":{"id":"%016x%016x"},`,
		pick(levels), verb, path, status, r.IntN(100_000), took, ip, pick(browsers), r.Uint64(), r.Uint64())
	b = fmt.Appendf(b, `"message":"%s: %s %s answered %d in %.3f ms for client %s"`, service, verb, path, status, took, ip)
	if l.hard {
		b = fmt.Appendf(b, `,"tags":[{"key":"zone","value":"z%d"},{"key":"rack","value":"r%d"}]`, r.IntN(9), r.IntN(500))
	}
	return append(b, '}')
}
