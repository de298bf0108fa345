package backup

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/estest"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// A point in time that was opened while another copy became the primary may be open on one that has gone back to an old
// checkpoint for a moment: it is not read.
func TestPrimaryChangesWhileThePointInTimeIsOpened(t *testing.T) {
	for _, at := range []string{"/_stats", "/_refresh", "/_pit"} {
		t.Run(at, func(t *testing.T) {
			h, es := one(t)
			pits, left := 0, 3
			w := &wire{next: es, at: -1, each: func(r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/_pit") && r.Method == "POST" {
					pits++
				}
				if strings.Contains(r.URL.Path, at) && r.Method != "DELETE" && left > 0 {
					left--
					_, err := h.Failover("i", 0)
					require.NoError(t, err)
				}
			}}
			m, err := Dump(t.Context(), w, &memTarget{}, &Options{sleep: impatient})
			require.NoError(t, err)
			require.True(t, m.Indices[0].Shards[0].Sealed)
			require.EqualValues(t, 4, m.Indices[0].Shards[0].PrimaryTerm)
			require.Greater(t, pits, 1)
			require.Zero(t, h.OpenContexts())
		})
	}
	h, es := one(t)
	w := onRequests(es, "/_pit", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
		_, err := h.Failover("i", 0)
		require.NoError(t, err)
		return next.Perform(r)
	})
	_, err := Dump(t.Context(), w, &memTarget{}, &Options{sleep: impatient})
	require.EqualError(t, err, "back up index i: shard 0: its primary changed while the point in time was opened")
	require.Zero(t, h.OpenContexts())
}

// Until a new primary has sent its copies what is above the checkpoint that it knew, they do not show it, although it was
// acknowledged before: nothing is refreshed and opened before that. An index without replicas does not wait.
func TestPointInTimeWaitsForTheCopies(t *testing.T) {
	for copies, want := range map[int]int{1: 1, 2: 4} {
		_, es := one(t)
		asked, refreshed := 0, 0
		w := onRequests(es, "/_", func(next elastictransport.Interface, r *http.Request) (*http.Response, error) {
			switch {
			case strings.HasSuffix(r.URL.Path, "/_refresh"):
				refreshed = asked
			case strings.Contains(r.URL.Path, "/_stats/docs") && strings.HasPrefix(r.URL.Path, "/i/"):
				asked++
				return edited(func(b []byte) []byte {
					if asked < 4 {
						b = bytes.Replace(b, []byte(`"global_checkpoint":9`), []byte(`"global_checkpoint":7`), 1)
					}
					if copies > 1 {
						b = bytes.Replace(b, []byte(`"0":[`), []byte(`"0":[{"routing":{"state":"STARTED","primary":false,"node":"other"}},`), 1)
					}
					return b
				}, nil)(next, r)
			}
			return next.Perform(r)
		})
		m, err := Dump(t.Context(), w, &memTarget{}, &Options{sleep: impatient})
		require.NoError(t, err)
		require.True(t, m.Indices[0].Shards[0].Sealed)
		require.Equal(t, want, refreshed, "%d copies", copies)
		require.EqualValues(t, map[int]int{1: 7, 2: 9}[copies], m.Indices[0].Shards[0].GlobalCheckpoint)
	}
}

// Where copies never come so far, the backup goes on, and says that the next one reads everything.
func TestCopiesThatNeverComeSoFar(t *testing.T) {
	h, es := one(t)
	require.NoError(t, h.SetGlobalCheckpoint("i", 0, 4))
	m, err := Dump(t.Context(), es, &memTarget{}, &Options{SealTimeout: time.Millisecond})
	require.NoError(t, err)
	require.False(t, m.Indices[0].Shards[0].Sealed)
	require.Equal(t, "its global checkpoint stayed at 4 for 1ms while operations reached 9", m.Indices[0].Shards[0].Reason)
}

// A disk that is put back to an earlier image, and restarted until its primary term is the parent's: uuids, history, term, checkpoint,
// counts and sums are the same or higher. The last document below the parent's checkpoint is not.
func TestShardPutBackWithTheSameTerm(t *testing.T) {
	restart := func(t *testing.T, h *estest.Handler) {
		lost, err := h.Failover("i", 0)
		require.NoError(t, err)
		require.Zero(t, lost)
	}
	for _, end := range []int{50, 80} { // the parent's last segment is taken over, or read again
		h, es := one(t)
		restart(t, h)
		index(t, es, "i", 10, 50, "before")
		restart(t, h)
		repo := repositorytest.New(t)
		first := runSmall(t, es, repo, nil).Manifest.Indices[0].Shards[0]
		require.True(t, first.Sealed)

		require.NoError(t, h.PutBack("i", 0, 9))
		restart(t, h)
		index(t, es, "i", 10, end, "after!")
		res := runSmall(t, es, repo, nil)
		require.Equal(t, first.PrimaryTerm, res.Manifest.Indices[0].Shards[0].PrimaryTerm)
		requireSame(t, es, repo, res, "i")
		require.Zero(t, res.SegmentsReused)
		require.Equal(t, []NotReused{{Index: "i",
			Why: "the document at sequence number 49, below the parent's checkpoint, is another one: the shard was put back to an earlier state"}}, res.NotReused)
	}
}
