package restore

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// calls names requests by what they are about, and how many of the same there were before: what is restored at the same time sends them in
// any order.
type calls struct {
	mu    sync.Mutex
	marks map[string]string // of a mark, the request that made the index
	seen  map[string]int
	all   []string
}

var (
	chance = regexp.MustCompile(`(escrow-(?:unfinished-|whole-|filler-|mappings-|settings-)*)[a-z2-7]{10}\b`)
	marked = regexp.MustCompile(UnfinishedPrefix + `[a-z2-7]{10}\b`)
)

func (c *calls) name(r *http.Request, body []byte) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.seen == nil {
		c.marks, c.seen = map[string]string{}, map[string]int{}
	}
	name := r.Method + " " + r.URL.Path
	if m := marked.FindString(string(body)); m != "" && r.Method == "PUT" {
		c.marks[m] = r.URL.Path
	}
	if m := marked.FindString(name); m != "" {
		name = strings.Replace(name, m, "the index of "+c.marks[m], 1)
	}
	if last := name[strings.LastIndexByte(name, '/'):]; !slices.Contains([]string{"/_bulk", "/_pit", "/_search"}, last) {
		name += " " + string(body)
	}
	name = chance.ReplaceAllString(name, "${1}x")
	c.seen[name]++
	name = fmt.Sprintf("%s (%d)", name, c.seen[name])
	c.all = append(c.all, name)
	return name
}
