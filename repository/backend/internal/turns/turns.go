// Package turns lets one call at a time be at a thing, for drivers of services where two that write the same file could meet.
package turns

import (
	"context"
	"sync"
)

// Turns are the turns at things named by keys. The zero value is ready to use.
type Turns[K comparable] struct {
	mu    sync.Mutex
	taken map[K]*turn
}

// turn is held by the call that is at it.
type turn struct {
	held  chan struct{} // of capacity 1
	users int           // those that hold it or wait for it
}

// Take waits until nobody else is at k, and returns what ends the turn, to be called once. When ctx ends first, the error is its
// cause.
func (t *Turns[K]) Take(ctx context.Context, k K) (done func(), err error) {
	t.mu.Lock()
	if t.taken == nil {
		t.taken = map[K]*turn{}
	}
	mine := t.taken[k]
	if mine == nil {
		mine = &turn{held: make(chan struct{}, 1)}
		t.taken[k] = mine
	}
	mine.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if mine.users--; mine.users == 0 {
			delete(t.taken, k)
		}
	}
	select {
	case mine.held <- struct{}{}:
		return func() {
			<-mine.held
			leave()
		}, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
