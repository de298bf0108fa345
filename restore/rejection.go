package restore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
)

// Rejection is a document that the server refused.
type Rejection struct {
	Document Document // in a LoadError without its Source
	Status   int      // HTTP status of the item, such as 400
	Type     string   // such as "document_parsing_exception"
	Reason   string
}

// LoadError says that the server refused documents for good. All others were written.
type LoadError struct {
	Rejections []Rejection      // the first 100
	Count      int64            // all
	ByType     map[string]int64 // the same by Type
}

// Error names the first document, and the number of all.
func (e *LoadError) Error() string {
	if len(e.Rejections) == 0 {
		return "documents were refused"
	}
	r := e.Rejections[0]
	s := fmt.Sprintf("index %s: document %q was refused: %s: %s", r.Document.Index, r.Document.ID, r.Type, r.Reason)
	if e.Count == 1 {
		return s
	}
	types := slices.SortedFunc(maps.Keys(e.ByType), func(a, b string) int {
		if e.ByType[a] != e.ByType[b] {
			return int(e.ByType[b] - e.ByType[a])
		}
		return strings.Compare(a, b)
	})
	for i, t := range types {
		types[i] = fmt.Sprintf("%d %s", e.ByType[t], t)
	}
	return fmt.Sprintf("%s (%d documents were refused: %s)", s, e.Count, strings.Join(types, ", "))
}

// rejections collects what was refused.
type rejections struct {
	mu sync.Mutex
	fn func(Rejection)
	e  LoadError
}

// add takes a rejection. Its document's source may be reused by the caller afterwards.
func (r *rejections) add(j Rejection) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.e.ByType == nil {
		r.e.ByType = map[string]int64{}
	}
	r.e.Count++
	r.e.ByType[j.Type]++
	if r.fn != nil {
		full := j
		full.Document.Source = slices.Clone(j.Document.Source)
		r.fn(full)
	}
	if len(r.e.Rejections) < 100 {
		j.Document.Source = nil
		r.e.Rejections = append(r.e.Rejections, j)
	}
}

// err is called when no more can come.
func (r *rejections) err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.e.Count == 0 {
		return nil
	}
	e := r.e
	return &e
}
