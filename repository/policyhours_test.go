package repository

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDurationOfManyHours(t *testing.T) {
	now := time.Date(2026, 3, 29, 12, 0, 0, 0, time.UTC)
	young, old := &Snapshot{Time: now.Add(-time.Hour)}, &Snapshot{Time: now.AddDate(-30, 0, 0)}
	for _, hours := range []int{25, 3_000_000, 1<<31 - 1} {
		d := Duration{Hours: hours}
		require.True(t, d.before(now).Before(young.Time), "%d", hours)
		reasons := Policy{Within: d}.apply([]*Snapshot{young, old}, now)
		require.NotEmpty(t, reasons[0], "%d", hours)
		require.Equal(t, hours > 25, len(reasons[1]) > 0, "%d", hours)
	}
	require.Equal(t, now.Add(-49*time.Hour), Duration{Hours: 49}.before(now))
}
