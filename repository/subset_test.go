package repository_test

import (
	"context"
	"io"
	"math"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
)

// readLog notes the packs that are read whole.
type readLog struct {
	backend.Backend
	mu    sync.Mutex
	packs map[string]bool
}

func (l *readLog) Load(ctx context.Context, h backend.Handle, off, n int64) (io.ReadCloser, error) {
	if h.Type == backend.Pack && off == 0 && n > 1<<20 {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.packs[h.Name] = true
	}
	return l.Backend.Load(ctx, h, off, n)
}

func TestCheckReadsASubset(t *testing.T) {
	b := initialized(t)
	r := open4(t, b)
	for i := range 8 {
		mustPieces(t, r, map[string][]int{"f": upTo(20*i, 20*i+20)})
	}
	packs := sizes(t, b, backend.Pack)
	whole := func(o *repository.CheckOptions) map[string]bool {
		l := &readLog{Backend: b, packs: map[string]bool{}}
		for p, err := range open4(t, l).Check(t.Context(), o) {
			require.NoError(t, err)
			t.Errorf("%v", p)
		}
		return l.packs
	}
	all := whole(&repository.CheckOptions{ReadData: true})
	require.Len(t, all, 8)
	require.Empty(t, whole(nil))
	parse := func(s string) repository.Subset {
		set, err := repository.ParseSubset(s)
		require.NoError(t, err)
		require.Equal(t, s, set.String())
		return set
	}
	found := map[string]bool{}
	for _, part := range []string{"1/3", "2/3", "3/3"} {
		for name := range whole(&repository.CheckOptions{ReadSubset: parse(part)}) {
			require.False(t, found[name])
			found[name] = true
			id, err := repository.ParseID(name)
			require.NoError(t, err)
			require.Equal(t, int(part[0]-'1'), int(id[0])%3)
		}
	}
	require.Equal(t, all, found)
	require.Equal(t, all, whole(&repository.CheckOptions{ReadSubset: parse("100%")}))
	require.Equal(t, all, whole(&repository.CheckOptions{ReadSubset: parse("1000000000")}))
	require.Equal(t, all, whole(&repository.CheckOptions{ReadData: true, ReadSubset: parse("1/3")}), "all is all")
	// Half of the packs are those of trees, which are small.
	some := len(whole(&repository.CheckOptions{ReadSubset: parse("50%")}))
	require.LessOrEqual(t, some, int(math.Ceil(float64(len(packs))/2)))

	// Each is found sooner or later, and what is damaged in the subset is reported.
	found = map[string]bool{}
	for i := 0; len(found) < len(all) && i < 1000; i++ {
		for name := range whole(&repository.CheckOptions{ReadSubset: parse("12.5%")}) {
			found[name] = true
		}
	}
	require.Equal(t, all, found)
}

func TestSubset(t *testing.T) {
	for _, bad := range []string{"", "0/3", "4/3", "1/257", "1/", "x", "0%", "101%", "NaN%", "-1%", "0", "-5M", "%"} {
		_, err := repository.ParseSubset(bad)
		require.Error(t, err, bad)
	}
	var s repository.Subset
	require.NoError(t, s.Set("2M"))
	require.Equal(t, "2097152", s.String())
	require.Empty(t, repository.Subset{}.String())
}
