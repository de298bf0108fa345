package esproxy

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
)

type ruleKey struct{}

func withRule(ctx context.Context, r *Rule) context.Context {
	return context.WithValue(ctx, ruleKey{}, r)
}

func ruleOf(ctx context.Context) *Rule {
	r, _ := ctx.Value(ruleKey{}).(*Rule)
	return r
}

// PathEnds matches requests whose path ends so, such as "/_bulk".
func PathEnds(suffix string) func(*http.Request) bool {
	return func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, suffix) }
}

// BodyHas matches requests whose path ends with suffix and whose body contains text.
func BodyHas(suffix, text string) func(*http.Request) bool {
	return func(r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, suffix) {
			return false
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false // the request has ended; passing it on will say so
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		return bytes.Contains(body, []byte(text))
	}
}

// FailShard reports one failed shard in an answer's _shards, as a server does for a shard that it could not ask.
func FailShard(answer map[string]any) {
	answer["_shards"] = map[string]any{
		"total": 1, "successful": 0, "skipped": 0, "failed": 1,
		"failures": []any{map[string]any{
			"shard": 0, "index": "any", "node": "n1",
			"reason": map[string]any{"type": "i_o_exception", "reason": "fault made by a test"},
		}},
	}
}

// DropHalf leaves out half of the hits, as a search that could not finish does.
func DropHalf(answer map[string]any) {
	outer, ok := answer["hits"].(map[string]any)
	if !ok {
		return
	}
	if hits, ok := outer["hits"].([]any); ok {
		outer["hits"] = hits[:len(hits)/2]
	}
}
