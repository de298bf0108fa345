package elastic

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWayIsLearnt(t *testing.T) {
	w := &way{}
	require.True(t, w.next(true)) // it looks where documents lie
	require.False(t, w.next(false))
	w.took(false, 500, 5000, 10)
	require.True(t, w.next(true)) // it was never tried
	w.took(true, 30, 5000, 10)
	require.True(t, w.next(true))

	w.took(false, 30, 5000, 1) // they lie side by side
	require.False(t, w.next(true))
	w.took(false, 500, 5000, 10)
	require.True(t, w.next(true))
	w.took(false, 500, 5000, 1000) // runs are short
	require.False(t, w.next(true))
	w.took(false, 35, 5000, 10) // it makes no difference
	require.False(t, w.next(true))
}

// What is known may have become wrong: the way that is not used is tried from time to time, less often each time.
func TestTheOtherWayIsTriedAgain(t *testing.T) {
	for _, byRuns := range []bool{false, true} {
		w := &way{}
		took := map[bool]int64{byRuns: 100, !byRuns: 1000}
		w.took(false, took[false], 5000, 10)
		require.True(t, w.next(true))
		w.took(true, took[true], 5000, 10)
		var tried []int
		for n := range 1000 {
			by := w.next(true)
			if by != byRuns {
				tried = append(tried, n)
			}
			w.took(by, took[by], 5000, 10)
		}
		require.Len(t, tried, 5)
		require.Greater(t, tried[4]-tried[3], 400)
		// What was bad has become good.
		took = map[bool]int64{byRuns: 1000, !byRuns: 100}
		turned := 0
		for range 3000 {
			by := w.next(true)
			w.took(by, took[by], 5000, 10)
			if by != byRuns {
				turned++
			}
		}
		require.Greater(t, turned, 500)
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
