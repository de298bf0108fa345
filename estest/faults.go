package estest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Fault is what to do to requests that match. Narrow it first (Method, Path, Nth, Times), then say what happens; it does nothing until
// then. All methods may be called while requests run. Effects of several faults on one request add up.
type Fault struct {
	h       *Handler
	method  string
	path    *regexp.Regexp
	nth     int // fires from the nth matching request on; 1 is the first
	times   int // at most; 0: always
	seen    int
	fired   int
	removed bool
	ready   bool
	fx      effects
	delay   time.Duration
	before  bool
	hook    func(*http.Request)
}

// effects are what faults do to one request.
type effects struct {
	err      *esError
	cut      int // -1: not
	truncate int // -1: not
	shards   []int
	timeout  bool
	forced   bool
	every    int // every n-th item of a bulk request is rejected; 0: none
	first    int // the first n are
}

// Inject adds a fault.
func (h *Handler) Inject() *Fault {
	f := &Fault{h: h, nth: 1, fx: effects{cut: -1, truncate: -1}}
	h.fmu.Lock()
	defer h.fmu.Unlock()
	h.faults = append(h.faults, f)
	return f
}

// ClearFaults removes every fault and hook.
func (h *Handler) ClearFaults() {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	h.faults, h.hooks = nil, nil
}

func (f *Fault) set(ready bool, fn func()) *Fault {
	f.h.fmu.Lock()
	defer f.h.fmu.Unlock()
	fn()
	f.ready = f.ready || ready
	return f
}

// Method narrows to an HTTP method.
func (f *Fault) Method(m string) *Fault { return f.set(false, func() { f.method = m }) }

// Path narrows to requests whose path and query contain s.
func (f *Fault) Path(s string) *Fault { return f.PathMatch(regexp.QuoteMeta(s)) }

// PathMatch narrows to requests whose path and query match a regular expression. It panics if that does not compile.
func (f *Fault) PathMatch(re string) *Fault {
	c := regexp.MustCompile(re)
	return f.set(false, func() { f.path = c })
}

// Nth lets the first n-1 matching requests pass.
func (f *Fault) Nth(n int) *Fault { return f.set(false, func() { f.nth = n }) }

// Times makes the fault fire for n requests only; default: for all.
func (f *Fault) Times(n int) *Fault { return f.set(false, func() { f.times = n }) }

// Once is Times(1).
func (f *Fault) Once() *Fault { return f.Times(1) }

// Error answers with a status and an error of Elasticsearch's shape; the request is not executed.
func (f *Fault) Error(status int, kind, reason string) *Fault {
	return f.set(true, func() { f.fx.err = &esError{status: status, kind: kind, reason: reason} })
}

// Status answers with the error that Elasticsearch or a proxy gives for 403, 429, 502, 503 and 504; the request is not executed.
func (f *Fault) Status(status int) *Fault {
	switch status {
	case 401, 403:
		return f.Error(status, "security_exception", "action is unauthorized for user [estest]")
	case 429:
		return f.Error(429, "es_rejected_execution_exception", "rejected execution of TimedRunnable{original=estest} on EsThreadPoolExecutor[name = estest/write, queue capacity = 10000]")
	case 503:
		return f.Error(503, "cluster_block_exception", "blocked by: [SERVICE_UNAVAILABLE/2/no master];")
	case 502, 504:
		return f.Error(status, "proxy_exception", http.StatusText(status))
	}
	return f.Error(status, "exception", http.StatusText(status))
}

// CircuitBreaker answers 429 circuit_breaking_exception.
func (f *Fault) CircuitBreaker() *Fault {
	return f.Error(429, "circuit_breaking_exception", "[parent] Data too large, data for [<http_request>] would be [1073741824/1gb], which is larger than the limit of [1020054732/972.7mb]")
}

// RejectItems makes every n-th item of a bulk request fail with 429 (1: all of them); the others are executed.
func (f *Fault) RejectItems(n int) *Fault { return f.set(true, func() { f.fx.every = n }) }

// RejectFirstItems makes the first n items of a bulk request fail with 429.
func (f *Fault) RejectFirstItems(n int) *Fault { return f.set(true, func() { f.fx.first = n }) }

// FailShards makes these shards of every index fail in searches, counts, statistics and refreshes, as the real thing answers: 200 with
// _shards.failed and the hits missing, or 503 if the search has allow_partial_search_results=false (see Forced) or no shard is left.
func (f *Fault) FailShards(n ...int) *Fault { return f.set(true, func() { f.fx.shards = n }) }

// TimeOut makes searches answer timed_out with half of the hits missing, or 504 with allow_partial_search_results=false (see Forced).
func (f *Fault) TimeOut() *Fault { return f.set(true, func() { f.fx.timeout = true }) }

// Forced makes FailShards and TimeOut answer 200 whatever allow_partial_search_results says, as old versions and some proxies do.
func (f *Fault) Forced() *Fault { return f.set(true, func() { f.fx.forced = true }) }

// Cut breaks the connection before the request is executed.
func (f *Fault) Cut() *Fault { return f.set(true, func() { f.before = true }) }

// CutAfter breaks the connection after n bytes of the answer's body; the request was executed.
func (f *Fault) CutAfter(n int) *Fault { return f.set(true, func() { f.fx.cut = n }) }

// Truncate ends the answer properly after n bytes of its body: complete for HTTP, broken JSON. The request was executed.
func (f *Fault) Truncate(n int) *Fault { return f.set(true, func() { f.fx.truncate = n }) }

// Delay waits before the request is executed, or until its context ends.
func (f *Fault) Delay(d time.Duration) *Fault { return f.set(true, func() { f.delay = d }) }

// Do calls fn before the request is executed; it may use the server.
func (f *Fault) Do(fn func(*http.Request)) *Fault { return f.set(true, func() { f.hook = fn }) }

// Count is how often the fault fired.
func (f *Fault) Count() int {
	f.h.fmu.Lock()
	defer f.h.fmu.Unlock()
	return f.fired
}

// Remove ends the fault.
func (f *Fault) Remove() { f.set(false, func() { f.removed = true }) }

// OnRequest calls fn before every request; it may use the server, to change it in the middle of an operation.
func (h *Handler) OnRequest(fn func(*http.Request)) {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	h.hooks = append(h.hooks, fn)
}

func (h *Handler) inject(r *http.Request) (*effects, error) {
	fx := &effects{cut: -1, truncate: -1}
	h.fmu.Lock()
	hooks := slices.Clone(h.hooks)
	var delay time.Duration
	before := false
	for _, f := range h.faults {
		if !f.ready || f.removed || f.method != "" && f.method != r.Method || f.path != nil && !f.path.MatchString(r.URL.RequestURI()) {
			continue
		}
		if f.seen++; f.seen < f.nth || f.times > 0 && f.fired >= f.times {
			continue
		}
		f.fired++
		fx.add(&f.fx)
		delay += f.delay
		before = before || f.before
		if f.hook != nil {
			hooks = append(hooks, f.hook)
		}
	}
	h.fmu.Unlock()
	for _, fn := range hooks {
		fn(r)
	}
	if delay > 0 {
		if err := sleep(r.Context(), delay); err != nil {
			return nil, err
		}
	}
	if before {
		return nil, errCut
	}
	return fx, nil
}

func (e *effects) add(o *effects) {
	if o.err != nil {
		e.err = o.err
	}
	if o.cut >= 0 {
		e.cut = o.cut
	}
	if o.truncate >= 0 {
		e.truncate = o.truncate
	}
	e.shards = append(e.shards, o.shards...)
	e.timeout, e.forced = e.timeout || o.timeout, e.forced || o.forced
	e.every, e.first = max(e.every, o.every), max(e.first, o.first)
}

func (e *effects) shardFails(n int) bool { return slices.Contains(e.shards, n) }

func (e *effects) cause() *esError {
	return &esError{status: 503, kind: "no_shard_available_action_exception", reason: "shard failed by a fault"}
}

func (e *effects) failure(index string, n int, node string) obj {
	return obj{"shard", n, "index", index, "node", node, "status", "INTERNAL_SERVER_ERROR", "reason", e.cause().detail()}
}

func (e *effects) partialError(fails []any) *esError {
	status, cause := 503, e.cause()
	if e.timeout && len(fails) == 0 {
		status, cause = 504, &esError{kind: "timeout_exception", reason: "Time exceeded"}
	}
	reason := "Partial shards failure"
	return &esError{status: status, kind: "search_phase_execution_exception", whole: obj{"root_cause", []any{cause.detail()}, "type", "search_phase_execution_exception",
		"reason", reason, "phase", "query", "grouped", true, "failed_shards", append([]any{}, fails...)}}
}

func (e *effects) rejectItem(i, n int) *esError {
	if i < e.first || e.every > 0 && i%e.every == e.every-1 {
		return &esError{status: 429, kind: "es_rejected_execution_exception", reason: "rejected execution of coordinating operation [coordinating_and_primary_bytes=0, replica_bytes=0, all_bytes=0]"}
	}
	return nil
}

// Request is one entry of the log.
type Request struct {
	Method, Path, Query string
	BodyBytes           int
}

func (h *Handler) record(r *http.Request, n int) {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	h.log = append(h.log, Request{r.Method, r.URL.Path, r.URL.RawQuery, n})
}

// Requests returns the requests so far, in order, whose path and query contain s; "" returns all.
func (h *Handler) Requests(s string) []Request {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	var out []Request
	for _, r := range h.log {
		if strings.Contains(r.Path+"?"+r.Query, s) {
			out = append(out, r)
		}
	}
	return out
}

// ResetRequests empties the log.
func (h *Handler) ResetRequests() {
	h.fmu.Lock()
	defer h.fmu.Unlock()
	h.log = nil
}
