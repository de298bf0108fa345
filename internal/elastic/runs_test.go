package elastic

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWayIsLearnt(t *testing.T) {
	next := func(w *way) bool {
		return w.next(true).byRuns
	}
	w := &way{}
	require.Equal(t, look{watch: true}, w.next(false))
	require.Equal(t, look{byRuns: true, probe: true, watch: true}, w.next(true)) // it asks where documents lie
	require.Equal(t, look{watch: true}, w.next(true))                            // once
	w.took(false, 500, 5000, 10)
	require.True(t, next(w)) // it was never tried
	w.took(true, 30, 5000, 10)
	for range looksIdle { // what lies side by side is read otherwise, but says nothing of what does not
		require.True(t, next(w))
		w.took(false, 30, 5000, 1)
	}
	require.False(t, next(w)) // until it seems that nothing else comes
	watched := 0
	for range 10 * looksAgain {
		if w.next(true).watch {
			watched++
		}
	}
	require.InDelta(t, 10, watched, 2) // then few are looked at
	w.took(false, 500, 5000, 10)
	require.True(t, next(w))
	w.took(false, 35, 5000, 10) // it makes no difference
	require.False(t, next(w))

	w = &way{}
	for range looksIdle - 1 {
		w.took(false, 30, 5000, 1)
		require.True(t, w.next(true).watch)
	}
	w.took(false, 500, 5000, 1000) // runs are short
	require.False(t, next(w))

	w = &way{}
	w.probed(100, 1000)
	w.took(true, 500, 5000, 10) // there were several segments
	require.False(t, next(w))
}

// Where documents are larger than thought, none are read by runs until the way is tried again.
func TestRunsThatFail(t *testing.T) {
	w := &way{}
	require.True(t, w.next(true).byRuns)
	byRuns := 0
	for range 200 {
		w.failed()
		w.took(false, 500, 5000, 10)
		if w.next(true).byRuns {
			byRuns++
		}
	}
	require.Equal(t, 2, byRuns)
	w.took(true, 30, 5000, 10)
	require.True(t, w.next(true).byRuns)
}

// What is known may have become wrong: the way that is not used is tried from time to time, less often each time.
func TestTheOtherWayIsTriedAgain(t *testing.T) {
	for _, runs := range []bool{false, true} {
		w := &way{}
		took := map[bool]int64{runs: 100, !runs: 1000}
		w.probed(took[false], 5000)
		w.took(true, took[true], 5000, 10)
		step := func() (other bool) {
			l := w.next(true)
			if l.probe {
				w.probed(took[false], 5000)
			}
			if l.watch {
				w.took(l.byRuns, took[l.byRuns], 5000, 10)
			}
			return l.byRuns != runs || l.probe
		}
		var tried []int
		for n := range 1000 {
			if step() {
				tried = append(tried, n)
			}
		}
		require.Len(t, tried, 5)
		require.Greater(t, tried[3]-tried[2], 250)
		took = map[bool]int64{runs: 1000, !runs: 100} // what was bad has become good
		for range 3000 {
			step()
		}
		require.NotEqual(t, runs, w.next(true).byRuns)
	}
}

// Chunks hold every document once, in order, and name the sequence numbers of theirs.
func TestChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var order []place
		for doc := int64(0); len(order) < 1+r.IntN(600); doc += 1 + r.Int64N(100) {
			for range 1 + r.IntN(40) {
				order = append(order, place{seqNo: r.Int64N(1e6), doc: doc})
				doc++
			}
		}
		all, runs := chunks(order)
		docs := make([]int64, len(order))
		for i, p := range order {
			docs[i] = p.doc
		}
		require.Equal(t, countRuns(docs), runs)
		require.LessOrEqual(t, len(all), runs)
		at := 0
		for i, c := range all {
			require.Equal(t, at, c.from)
			require.Greater(t, c.to, c.from)
			at = c.to
			for _, p := range order[c.from:c.to] {
				require.True(t, c.seqNos.From <= p.seqNo && p.seqNo < c.seqNos.To)
			}
			if c.to-c.from >= 2*shortRun && order[c.to-1].doc-order[c.from].doc >= int64(c.to-c.from) {
				// More than one run: each of them is short, and so is none beside it.
				length := 1
				for k := c.from + 1; k < c.to; k++ {
					if length++; order[k].doc != order[k-1].doc+1 {
						length = 1
					}
					require.Less(t, length, shortRun)
				}
			}
			if i > 0 {
				require.NotEqual(t, order[c.from].doc, order[c.from-1].doc+1)
			}
		}
		require.Len(t, order, at)
	}
}
