package estest

import "fmt"

// esError is an answer in Elasticsearch's error shape.
type esError struct {
	status  int
	kind    string
	reason  string
	extra   obj // further fields of the error, after the reason
	cause   *esError
	shard   bool // of one shard: a search wraps it
	message bool // {"error":"text"}: some handlers answer so
	bare    obj  // a body without an error, as 404 {"found":false}
	whole   obj  // the value of "error" when it is not of the usual shape
}

func (e *esError) Error() string { return e.kind + ": " + e.reason }

func (e *esError) detail() obj {
	o := obj{"type", e.kind, "reason", e.reason}.with(e.extra...)
	if e.cause != nil {
		o = append(o, "caused_by", e.cause.detail())
	}
	return o
}

func (e *esError) body() obj {
	switch {
	case e.bare != nil:
		return e.bare
	case e.message:
		return obj{"error", e.reason, "status", e.status}
	case e.whole != nil:
		return obj{"error", e.whole, "status", e.status}
	}
	root := obj{"type", e.kind, "reason", e.reason}.with(e.extra...)
	return obj{"error", obj{"root_cause", []any{root}}.with(e.detail()...), "status", e.status}
}

func illegal(format string, a ...any) *esError {
	return &esError{status: 400, kind: "illegal_argument_exception", reason: fmt.Sprintf(format, a...)}
}

func invalid(reason string) *esError {
	return &esError{status: 400, kind: "action_request_validation_exception", reason: "Validation Failed: 1: " + reason + ";"}
}

func parseError(format string, a ...any) *esError {
	return &esError{status: 400, kind: "parsing_exception", reason: fmt.Sprintf(format, a...), extra: obj{"line", 1, "col", 1}}
}

func noIndex(name string) *esError {
	return &esError{status: 404, kind: "index_not_found_exception", reason: "no such index [" + name + "]",
		extra: obj{"resource.type", "index_or_alias", "resource.id", name, "index_uuid", "_na_", "index", name}}
}

func notFound(format string, a ...any) *esError {
	return &esError{status: 404, kind: "resource_not_found_exception", reason: fmt.Sprintf(format, a...)}
}

func badMethod(r *request, allowed string) *esError {
	return &esError{status: 405, message: true,
		reason: fmt.Sprintf("Incorrect HTTP method for uri [%s] and method [%s], allowed: [%s]", r.uri, r.method, allowed)}
}

// allShardsFailed wraps a cause as a search does when no shard answered.
func allShardsFailed(status int, index string, node string, cause *esError, shards []int) *esError {
	return phaseFailed(status, "all shards failed", index, node, cause, shards)
}

func phaseFailed(status int, reason, index, node string, cause *esError, shards []int) *esError {
	var fails []any
	for _, s := range shards {
		fails = append(fails, obj{"shard", s, "index", index, "node", node, "reason", cause.detail()})
	}
	root := *cause
	root.cause = nil
	var roots []any
	for range max(1, len(shards)) {
		roots = append(roots, root.detail())
	}
	if status == 400 {
		roots = roots[:1] // the same of every shard
	}
	w := obj{"root_cause", roots, "type", "search_phase_execution_exception", "reason", reason,
		"phase", "query", "grouped", true, "failed_shards", fails}
	if status == 400 && !cause.shard {
		// The server names the one cause twice.
		twice := root
		twice.cause = cause
		w = append(w, "caused_by", twice.detail())
	}
	return &esError{status: status, kind: "search_phase_execution_exception", reason: reason, whole: w}
}
