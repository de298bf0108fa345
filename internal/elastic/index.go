package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/escrow-backup/escrow/layout"
)

// Info asks the cluster who it is.
func (c *Client) Info(ctx context.Context) (layout.Cluster, error) {
	var out struct {
		Name    string `json:"cluster_name"`
		UUID    string `json:"cluster_uuid"`
		Version struct {
			Number string `json:"number"`
		} `json:"version"`
	}
	if err := c.JSON(ctx, Request{Method: "GET", Path: "/"}, &out); err != nil {
		return layout.Cluster{}, fmt.Errorf("connect to Elasticsearch: %w", err)
	}
	if out.Version.Number == "" {
		return layout.Cluster{}, errors.New("connect to Elasticsearch: the answer has no version")
	}
	return layout.Cluster{Name: out.Name, UUID: out.UUID, Version: out.Version.Number}, nil
}

// atLeast reports whether version is major.minor or newer. A version that cannot be read is taken for newer.
func atLeast(version string, major, minor int) bool {
	a, rest, _ := strings.Cut(version, ".")
	b, _, _ := strings.Cut(rest, ".")
	gotMajor, err := strconv.Atoi(a)
	if err != nil {
		return true
	}
	gotMinor, err := strconv.Atoi(b)
	return err != nil || gotMajor > major || gotMajor == major && gotMinor >= minor
}

// Index is one index as the server describes it.
type Index struct {
	Name     string
	UUID     string
	Shards   int
	Raw      json.RawMessage // what GET /<index> answers, without the outer object
	Mappings json.RawMessage

	// Lacking says why documents do not come back as they were written; empty in general.
	Lacking string

	way       way  // in which its shards are read
	synthetic bool // the server makes _source anew from other fields
	vectors   bool // the server leaves vectors out unless told otherwise
	nested    bool // documents may hold others, which the server's statistics count too
	window    int  // how many hits a search may ask for
	terms     int  // how many values a query may name
	resized   bool // it was made of another index, by shrinking, splitting or cloning

	preparing sync.Mutex
	prepared  *ready // the last one, whole
}

// Reserialised reports whether the server makes the bytes of _source anew for each answer, so that equal documents may differ
// in bytes after an upgrade or a change of the mapping.
func (ix *Index) Reserialised() bool {
	for _, t := range []string{"dense_vector", "sparse_vector", "rank_vectors", "semantic_text", "synthetic"} {
		if bytes.Contains(ix.Mappings, []byte(`"`+t+`"`)) {
			return true
		}
	}
	return ix.synthetic
}

// UniqueIDs reports whether no two documents of a shard can have one id. Where shards with documents of one id, which routing had kept apart, were
// made one, they can.
func (ix *Index) UniqueIDs() bool { return !ix.resized }

// Index reads the description of one index. cluster is what Info returned.
func (c *Client) Index(ctx context.Context, cluster layout.Cluster, name string) (*Index, error) {
	var out map[string]json.RawMessage
	if err := c.JSON(ctx, Request{Method: "GET", Path: "/" + PathEscape(name), Query: url.Values{"expand_wildcards": {"all"}}}, &out); err != nil {
		return nil, err
	}
	raw, ok := out[name]
	if !ok || len(out) != 1 {
		return nil, fmt.Errorf("GET /%s: the answer describes %d indices, not just this one", PathEscape(name), len(out))
	}
	var d struct {
		Mappings json.RawMessage `json:"mappings"`
		Settings struct {
			Index struct {
				UUID   string          `json:"uuid"`
				Shards string          `json:"number_of_shards"`
				Mode   string          `json:"mode"`
				Window string          `json:"max_result_window"`
				Terms  string          `json:"max_terms_count"`
				Resize json.RawMessage `json:"resize"`
				Source struct {
					Mode string `json:"mode"`
				} `json:"source"`
				Mapping struct {
					Source struct {
						Mode string `json:"mode"`
					} `json:"source"`
				} `json:"mapping"`
			} `json:"index"`
		} `json:"settings"`
	}
	if err := json.Unmarshal(raw, &d); err != nil {
		return nil, fmt.Errorf("GET /%s: decode answer: %w", PathEscape(name), err)
	}
	n, err := strconv.Atoi(d.Settings.Index.Shards)
	if err != nil || n < 1 || d.Settings.Index.UUID == "" {
		return nil, fmt.Errorf("GET /%s: no uuid or number of shards in the answer", PathEscape(name))
	}
	set := &d.Settings.Index
	var m struct {
		Source struct {
			Enabled  *bool    `json:"enabled"`
			Includes []string `json:"includes"`
			Excludes []string `json:"excludes"`
		} `json:"_source"`
	}
	if len(d.Mappings) > 0 {
		if err := json.Unmarshal(d.Mappings, &m); err != nil {
			return nil, fmt.Errorf("GET /%s: decode mappings: %w", PathEscape(name), err)
		}
	}
	lacking := ""
	switch {
	case m.Source.Enabled != nil && !*m.Source.Enabled:
		return nil, errors.New("its documents have no _source")
	case len(m.Source.Includes)+len(m.Source.Excludes) > 0:
		lacking = "its mapping leaves fields out of _source (includes or excludes): they are indexed, but not in the backup"
	}
	limit := func(setting, value string, most int) (int, error) {
		if value == "" {
			return most, nil
		}
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return 0, fmt.Errorf("GET /%s: %s %q", PathEscape(name), setting, value)
		}
		return min(n, most), nil
	}
	window, err := limit("max_result_window", set.Window, maxHits)
	if err != nil {
		return nil, err
	}
	terms, err := limit("max_terms_count", set.Terms, max(window-1, 1)) // what they find is less than a page
	if err != nil {
		return nil, err
	}
	return &Index{
		Lacking:   lacking,
		window:    window,
		terms:     terms,
		resized:   set.Resize != nil,
		nested:    bytes.Contains(d.Mappings, []byte(`"nested"`)) || bytes.Contains(d.Mappings, []byte(`"semantic_text"`)),
		synthetic: set.Mode != "" && set.Mode != "standard" || set.Source.Mode == "synthetic" || set.Mapping.Source.Mode == "synthetic",
		Name:      name, UUID: d.Settings.Index.UUID, Shards: n, Raw: raw, Mappings: d.Mappings,
		vectors: atLeast(cluster.Version, 9, 2),
	}, nil
}

// ReplacedError says that an index was deleted and another one has its name, in the middle of a backup.
type ReplacedError struct{ Index, Old, New string }

func (e *ReplacedError) Error() string {
	if e.New == "" {
		return fmt.Sprintf("index %s (uuid %s) is not there any more", e.Index, e.Old)
	}
	return fmt.Sprintf("index %s was replaced by another one of its name (uuid %s, now %s)", e.Index, e.Old, e.New)
}

// Again reads the description of an index once more. It fails if another index has its name now.
func (c *Client) Again(ctx context.Context, cluster layout.Cluster, ix *Index) (*Index, error) {
	now, err := c.Index(ctx, cluster, ix.Name)
	if err != nil {
		return nil, err
	}
	if now.UUID != ix.UUID || now.Shards != ix.Shards {
		return nil, &ReplacedError{Index: ix.Name, Old: ix.UUID, New: now.UUID}
	}
	return now, nil
}

// shardState is what a primary says about itself.
type shardState struct {
	history    string
	checkpoint int64
	maxSeqNo   int64
	docs       int64
	storeBytes int64
	hasSeqNo   bool
	node       string // that holds it
	copies     int    // that are started or on the way
}

// shardStates reads the state of the started primaries of an index; a shard without one is not in it. It fails if the index is
// gone, or another one has its name now.
func (c *Client) shardStates(ctx context.Context, ix *Index) (map[int]shardState, error) {
	index := ix.Name
	var out struct {
		Indices map[string]struct {
			UUID   string `json:"uuid"`
			Shards map[string][]struct {
				Routing struct {
					State   string `json:"state"`
					Primary bool   `json:"primary"`
					Node    string `json:"node"`
				} `json:"routing"`
				Docs struct {
					Count int64 `json:"count"`
					Bytes int64 `json:"total_size_in_bytes"`
				} `json:"docs"`
				Commit struct {
					UserData struct {
						History string `json:"history_uuid"`
					} `json:"user_data"`
				} `json:"commit"`
				SeqNo *struct {
					Max        int64 `json:"max_seq_no"`
					Checkpoint int64 `json:"global_checkpoint"`
				} `json:"seq_no"`
			} `json:"shards"`
		} `json:"indices"`
	}
	r := Request{Method: "GET", Path: "/" + PathEscape(index) + "/_stats/docs",
		Query: url.Values{"level": {"shards"}, "expand_wildcards": {"all"}}}
	if err := c.Sharded(ctx, r, &out); err != nil {
		return nil, err
	}
	if got := out.Indices[index].UUID; got == "" {
		// The statistics leave an index out of which no copy of any shard is started.
		if _, err := c.Again(ctx, layout.Cluster{}, ix); errors.Is(err, fs.ErrNotExist) {
			return nil, &ReplacedError{Index: index, Old: ix.UUID}
		} else if err != nil {
			return nil, err
		}
	} else if got != ix.UUID {
		return nil, &ReplacedError{Index: index, Old: ix.UUID, New: got}
	}
	states := map[int]shardState{}
	for number, copies := range out.Indices[index].Shards {
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("GET %s: shard number %q", r.Path, number)
		}
		for _, s := range copies {
			if !s.Routing.Primary || s.Routing.State != "STARTED" && s.Routing.State != "RELOCATING" {
				continue
			}
			st := shardState{history: s.Commit.UserData.History, docs: s.Docs.Count, storeBytes: s.Docs.Bytes, checkpoint: -1, maxSeqNo: -1,
				node: s.Routing.Node, copies: len(copies)}
			if s.SeqNo != nil {
				st.hasSeqNo, st.checkpoint, st.maxSeqNo = true, s.SeqNo.Checkpoint, s.SeqNo.Max
			}
			states[n] = st
		}
	}
	return states, nil
}

// settled reports whether all copies have what the primary had done when its highest sequence number was this one. The zero value, which is
// that of no primary, has not.
func (s shardState) settled(highest int64) bool {
	return s.copies > 0 && (!s.hasSeqNo || s.copies < 2 || s.checkpoint >= highest)
}

// CountIndices asks how many documents each index holds, roughly: nested ones are counted too.
func (c *Client) CountIndices(ctx context.Context) (map[string]int64, error) {
	var out struct {
		Indices map[string]struct {
			Primaries struct {
				Docs struct {
					Count int64 `json:"count"`
				} `json:"docs"`
			} `json:"primaries"`
		} `json:"indices"`
	}
	err := c.JSON(ctx, Request{Method: "GET", Path: "/_stats/docs",
		Query: url.Values{"expand_wildcards": {"all"}, "filter_path": {"indices.*.primaries.docs.count"}}}, &out)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int64, len(out.Indices))
	for name, x := range out.Indices {
		counts[name] = x.Primaries.Docs.Count
	}
	return counts, nil
}

// primaryTerms reads the primary term of every shard of an index from the cluster state.
func (c *Client) primaryTerms(ctx context.Context, index string) (map[int]int64, error) {
	var out struct {
		Metadata struct {
			Indices map[string]struct {
				Terms map[string]int64 `json:"primary_terms"`
			} `json:"indices"`
		} `json:"metadata"`
	}
	err := c.JSON(ctx, Request{Method: "GET", Path: "/_cluster/state/metadata/" + PathEscape(index),
		Query: url.Values{"filter_path": {"metadata.indices.*.primary_terms"}, "expand_wildcards": {"all"}}}, &out)
	if err != nil {
		return nil, err
	}
	terms := map[int]int64{}
	for number, term := range out.Metadata.Indices[index].Terms {
		n, err := strconv.Atoi(number)
		if err != nil {
			return nil, fmt.Errorf("primary terms of index %s: shard number %q", index, number)
		}
		terms[n] = term
	}
	return terms, nil
}

// ready is an index of which one shard is about to be read: its checkpoint was read, and then it was refreshed.
type ready struct {
	states   map[int]shardState
	terms    map[int]int64
	asOf     time.Time
	done     time.Time
	deadline time.Time // of waiting for checkpoints
	unsealed string    // why no shard can be sealed
	stale    string    // why documents that were acknowledged may be missing
}

// afresh is r with the whole time to wait for a checkpoint.
func (r *ready) afresh(timeout time.Duration) *ready {
	own := *r
	own.deadline = time.Now().Add(timeout)
	return &own
}

// prepareOnce is prepare, or what it gave to another shard of the index that was opened meanwhile.
func (c *Client) prepareOnce(ctx context.Context, ix *Index, number int, timeout time.Duration) (*ready, error) {
	asked := time.Now()
	ix.preparing.Lock()
	defer ix.preparing.Unlock()
	if r := ix.prepared; r != nil && r.done.After(asked) && r.states[number].settled(r.states[number].maxSeqNo) {
		return r.afresh(timeout), nil
	}
	r, err := c.prepare(ctx, ix, number, timeout)
	if err == nil {
		ix.prepared = r
	}
	return r, err
}

// Standing is how a shard stood a moment ago. Searches see all that was done until then.
type Standing struct {
	// Info has its history, primary term and sequence numbers. HistoryUUID is empty where the server does not say.
	Info layout.Shard
	Docs int64 // that its primary counts, -1 if there may be nested ones, which it counts too
	AsOf time.Time

	ready *ready
}

// Standing returns how a shard stands, without opening a point in time.
func (c *Client) Standing(ctx context.Context, ix *Index, number int, o ReadOptions) (*Standing, error) {
	o.defaults()
	r, err := c.prepareOnce(ctx, ix, number, o.SealTimeout)
	if err != nil {
		return nil, err
	}
	state := r.states[number]
	s := &Standing{Info: layout.Shard{Number: number, GlobalCheckpoint: -1, MaxSeqNo: -1}, Docs: state.docs, AsOf: r.asOf, ready: r}
	if r.unsealed == "" && state.hasSeqNo && r.terms[number] > 0 {
		s.Info.HistoryUUID, s.Info.PrimaryTerm = state.history, r.terms[number]
		s.Info.GlobalCheckpoint, s.Info.MaxSeqNo = state.checkpoint, state.maxSeqNo
	}
	if ix.nested {
		s.Docs = -1
	}
	return s, nil
}

// prepare reads primary terms and checkpoints of an index, and then refreshes it. The terms are read first: if they are the same when
// the point in time is open, the checkpoint is of a primary of that term.
func (c *Client) prepare(ctx context.Context, ix *Index, number int, timeout time.Duration) (*ready, error) {
	r := &ready{deadline: time.Now().Add(timeout)}
	index := ix.Name
	var err error
	if r.terms, err = c.primaryTerms(ctx, index); err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read primary terms: %w", err)
		}
		r.unsealed = "no right to read primary terms"
	}
	if r.states, err = c.settled(ctx, ix, number, r.deadline); err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("read shard statistics: %w", err)
		}
		r.unsealed = "no right to read shard statistics"
	} else if err := primaries(r.states, ix, number); err != nil {
		return nil, err
	}
	r.asOf = time.Now().UTC()
	if err = c.Refresh(ctx, index); err != nil {
		if !errors.Is(err, fs.ErrPermission) {
			return nil, fmt.Errorf("refresh: %w", err)
		}
		r.unsealed = "no right to refresh"
		r.stale = "no right to refresh: documents that were acknowledged but not yet refreshed may be missing"
	}
	r.done = time.Now()
	return r, nil
}

// primaries requires that each shard of an index has one that is started: the refresh that comes next would wait a minute for it, whichever shard
// it is for.
func primaries(states map[int]shardState, ix *Index, number int) error {
	what := "the shard has"
	if _, ok := states[number]; ok {
		n := 0
		for ; n < ix.Shards; n++ {
			if _, ok := states[n]; !ok {
				break
			}
		}
		if n == ix.Shards {
			return nil
		}
		what = fmt.Sprintf("shard %d of the index has", n)
	}
	return &PartialError{What: "read shard statistics", Reason: what + " no started primary"}
}

// settled reads the states of an index's shards, and waits until what one of them had done when it was first asked is on all its copies. A
// copy that has just got a new primary goes back to the checkpoint that this one knew, until the primary has sent it the rest: for that
// moment searches on it do not see operations that were acknowledged long ago, and see what these had replaced. Where the deadline passes,
// the states are as they are then.
func (c *Client) settled(ctx context.Context, ix *Index, number int, deadline time.Time) (map[int]shardState, error) {
	highest := int64(-1)
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		states, err := c.shardStates(ctx, ix)
		if err != nil {
			return nil, err
		}
		now, ok := states[number]
		if !ok {
			return states, nil
		}
		if highest < 0 {
			highest = now.maxSeqNo
		}
		if now.settled(highest) || time.Now().After(deadline) {
			return states, nil
		}
		if err := c.o.Sleep(ctx, wait); err != nil {
			return nil, err
		}
	}
}
