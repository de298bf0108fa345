package turns

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOneAtATime(t *testing.T) {
	var turns Turns[string]
	at := 0 // the race detector looks at it, too
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			done, err := turns.Take(t.Context(), "k")
			if err != nil {
				t.Error(err)
				return
			}
			defer done()
			if at++; at != 1 {
				t.Error("two at once")
			}
			at--
		})
	}
	wg.Wait()
	require.Empty(t, turns.taken, "nothing is kept of turns that ended")
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	var turns Turns[string]
	done, err := turns.Take(t.Context(), "k")
	require.NoError(t, err)
	other, err := turns.Take(t.Context(), "another")
	require.NoError(t, err)
	other()
	cause := errors.New("the cause")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	_, err = turns.Take(ctx, "k")
	require.ErrorIs(t, err, cause)
	done()
	done, err = turns.Take(t.Context(), "k")
	require.NoError(t, err)
	done()
	require.Empty(t, turns.taken)
}
