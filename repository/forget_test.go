package repository_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/mem"
	"github.com/escrow-backup/escrow/repository/repositorytest"
)

// policyArgs reads the flags of restic forget.
func policyArgs(t *testing.T, args []string) (repository.Policy, *repository.ForgetOptions) {
	t.Helper()
	var p repository.Policy
	o := &repository.ForgetOptions{AllowRemoveAll: true}
	numbers := map[string]*int{"--keep-last": &p.Last, "--keep-hourly": &p.Hourly, "--keep-daily": &p.Daily,
		"--keep-weekly": &p.Weekly, "--keep-monthly": &p.Monthly, "--keep-yearly": &p.Yearly}
	durations := map[string]*repository.Duration{"--keep-within": &p.Within, "--keep-within-hourly": &p.WithinHourly,
		"--keep-within-daily": &p.WithinDaily, "--keep-within-weekly": &p.WithinWeekly,
		"--keep-within-monthly": &p.WithinMonthly, "--keep-within-yearly": &p.WithinYearly}
	for pair := range slices.Chunk(args, 2) {
		name, value := pair[0], pair[1]
		var err error
		switch {
		case numbers[name] != nil:
			*numbers[name], err = strconv.Atoi(value)
		case durations[name] != nil:
			err = durations[name].Set(value)
		case name == "--keep-tag":
			p.Tags = append(p.Tags, repository.ParseTagList(value))
		case name == "--group-by":
			o.GroupBy, err = repository.ParseGroupBy(value)
		case name == "--host":
			o.Filter.Hostnames = append(o.Filter.Hostnames, value)
		case name == "--tag":
			o.Filter.AnyTags = append(o.Filter.AnyTags, repository.ParseTagList(value))
		case name == "--path":
			o.Filter.Paths = append(o.Filter.Paths, value)
		default:
			t.Fatalf("unknown flag %s", name)
		}
		require.NoError(t, err)
	}
	return p, o
}

// TestForgetAnswersAsRestic compares with what restic 0.14 answered to
//
//	restic forget --dry-run --json ARGS
//
// on the same snapshots. The test of the same name in internal/e2e asks the real program, and records its answers.
func TestForgetAnswersAsRestic(t *testing.T) {
	text, err := os.ReadFile("testdata/forget.json")
	require.NoError(t, err)
	type group struct {
		Keep   []int      `json:"keep"`
		Why    [][]string `json:"why"`
		Remove []int      `json:"remove"`
	}
	var record struct {
		Snapshots []struct {
			Time  time.Time `json:"time"`
			Host  string    `json:"host"`
			Paths []string  `json:"paths"`
			Tags  []string  `json:"tags"`
		} `json:"snapshots"`
		Cases []struct {
			Args   []string `json:"args"`
			Groups []group  `json:"groups"`
		} `json:"cases"`
	}
	require.NoError(t, json.Unmarshal(text, &record))
	require.Greater(t, len(record.Cases), 40)
	r := repositorytest.New(t)
	number := map[repository.ID]int{}
	for i, h := range record.Snapshots {
		s, err := r.Write(t.Context(), repository.Header{Time: h.Time, Hostname: h.Host, Paths: h.Paths, Tags: h.Tags},
			func(context.Context, *repository.Writer) error { return nil })
		require.NoError(t, err)
		number[s.ID] = i
	}
	for _, c := range record.Cases {
		p, o := policyArgs(t, c.Args)
		plan, err := r.PlanForget(t.Context(), p, o)
		require.NoError(t, err)
		got := []group{}
		for _, g := range plan.Groups {
			x := group{[]int{}, [][]string{}, []int{}}
			for _, k := range g.Keep {
				x.Keep, x.Why = append(x.Keep, number[k.ID]), append(x.Why, k.Reasons)
			}
			for _, s := range g.Remove {
				x.Remove = append(x.Remove, number[s.ID])
			}
			got = append(got, x)
		}
		require.ElementsMatch(t, c.Groups, got, "args %q", c.Args)
	}
}

func TestDuration(t *testing.T) {
	for s, want := range map[string]repository.Duration{
		"1y5m7d2h": {Years: 1, Months: 5, Days: 7, Hours: 2}, "3h": {Hours: 3}, "2d1y": {Years: 1, Days: 2}, "0h": {}, "400d": {Days: 400},
	} {
		d, err := repository.ParseDuration(s)
		require.NoError(t, err)
		require.Equal(t, want, d)
		again, err := repository.ParseDuration(d.String())
		require.NoError(t, err)
		require.Equal(t, want, again)
	}
	for _, s := range []string{"", "5", "y", "1w", "-1y", "1.5h", "1y 2d", "99999999999h"} {
		_, err := repository.ParseDuration(s)
		require.Error(t, err, s)
	}
}

// daily makes a snapshot a day, and gives their ids, the oldest first.
func daily(t *testing.T, r *repository.Repo, n int, tags ...string) (ids []repository.ID) {
	t.Helper()
	for i := range n {
		s, err := r.Write(t.Context(), repository.Header{Time: time.Date(2026, 1, 1+i, 12, 0, 0, 0, time.UTC), Hostname: "h", Tags: tags},
			func(context.Context, *repository.Writer) error { return nil })
		require.NoError(t, err)
		ids = append(ids, s.ID)
	}
	return ids
}

func ids(t *testing.T, r *repository.Repo, f repository.Filter) (all []repository.ID) {
	t.Helper()
	for s, err := range r.Snapshots(t.Context(), f) {
		require.NoError(t, err)
		all = append(all, s.ID)
	}
	return all
}

func TestForget(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	made := daily(t, r, 6)
	plan, err := r.PlanForget(t.Context(), repository.Policy{Last: 2}, nil)
	require.NoError(t, err)
	require.Equal(t, 4, plan.Removes())
	require.Equal(t, made, ids(t, r, repository.Filter{}), "a plan changes nothing")
	// One that is gone already, and a new one, do not matter.
	forget(t, r, made[0])
	late := daily(t, r, 1)
	require.NoError(t, r.Forget(t.Context(), plan))
	require.ElementsMatch(t, []repository.ID{made[4], made[5], late[0]}, ids(t, r, repository.Filter{}))
	require.Empty(t, sizes(t, b, backend.Lock))

	plan, err = r.PlanForget(t.Context(), repository.Policy{Last: 2}, nil)
	require.NoError(t, err)
	forget(t, r, made[5])
	require.ErrorIs(t, r.Forget(t.Context(), plan), repository.ErrPlanOutdated, "one that was to be kept is gone")
	require.Len(t, ids(t, r, repository.Filter{}), 2)
	require.NoError(t, r.Forget(t.Context(), &repository.ForgetPlan{}))
}

func TestForgetKeepsSomething(t *testing.T) {
	r := repositorytest.New(t)
	made := daily(t, r, 3)
	none := repository.Policy{Tags: []repository.TagList{{"nobody"}}}
	_, err := r.PlanForget(t.Context(), none, nil)
	require.ErrorIs(t, err, repository.ErrRemovesAll)
	plan, err := r.PlanForget(t.Context(), none, &repository.ForgetOptions{AllowRemoveAll: true})
	require.NoError(t, err)
	require.Equal(t, 3, plan.Removes())
	plan, err = r.PlanForget(t.Context(), repository.Policy{}, nil)
	require.NoError(t, err)
	require.Zero(t, plan.Removes(), "the empty policy keeps all")
	plan, err = r.PlanForget(t.Context(), repository.Policy{Daily: repository.KeepAll}, nil)
	require.NoError(t, err)
	require.Zero(t, plan.Removes())
	for _, p := range []repository.Policy{{Last: -2}, {Within: repository.Duration{Days: -1}}, {WithinYearly: repository.Duration{Hours: -1}}} {
		_, err := r.PlanForget(t.Context(), p, nil)
		require.ErrorContains(t, err, "negative")
	}
	require.Equal(t, made, ids(t, r, repository.Filter{}))
	for s, want := range map[string]repository.GroupBy{"": repository.GroupTogether, "host": repository.GroupByHost,
		"paths,tags": repository.GroupByPaths | repository.GroupByTags} {
		g, err := repository.ParseGroupBy(s)
		require.NoError(t, err)
		require.Equal(t, want, g)
	}
	_, err = repository.ParseGroupBy("host,colour")
	require.ErrorContains(t, err, "colour")
}

func TestForgetDamagedSnapshot(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	made := daily(t, r, 2)
	h := backend.Handle{Type: backend.Snapshot, Name: made[0].String()}
	require.NoError(t, b.Remove(t.Context(), h))
	require.NoError(t, b.Save(t.Context(), h, strings.NewReader("rubbish"), 7))
	_, err := r.PlanForget(t.Context(), repository.Policy{Last: 1}, nil)
	require.ErrorIs(t, err, repository.ErrDamaged)
	plan, err := r.PlanForgetIDs(t.Context(), made[0], made[0])
	require.NoError(t, err)
	require.Contains(t, plan.String(), "unreadable")
	require.NoError(t, r.Forget(t.Context(), plan))
	require.Equal(t, made[1:], ids(t, r, repository.Filter{}))
	_, err = r.PlanForgetIDs(t.Context(), made[0])
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestFilter(t *testing.T) {
	r := repositorytest.New(t)
	var made []repository.ID
	for i, h := range []repository.Header{
		{Hostname: "a", Tags: []string{"x", "y"}, Paths: []string{"/p", "/q"}},
		{Hostname: "b", Tags: []string{"z"}, Paths: []string{"/p"}},
		{Hostname: "c"},
	} {
		h.Time = time.Unix(int64(100*(i+1)), 0)
		s, err := r.Write(t.Context(), h, func(context.Context, *repository.Writer) error { return nil })
		require.NoError(t, err)
		made = append(made, s.ID)
	}
	for name, c := range map[string]struct {
		f    repository.Filter
		want []int
	}{
		"all":      {repository.Filter{}, []int{0, 1, 2}},
		"hosts":    {repository.Filter{Hostnames: []string{"a", "c"}}, []int{0, 2}},
		"or":       {repository.Filter{AnyTags: []repository.TagList{{"x", "y"}, {"z"}}}, []int{0, 1}},
		"and":      {repository.Filter{AnyTags: []repository.TagList{{"x", "z"}}}, nil},
		"untagged": {repository.Filter{AnyTags: []repository.TagList{{""}}}, []int{2}},
		"parsed":   {repository.Filter{AnyTags: []repository.TagList{repository.ParseTagList("y, x")}}, []int{0}},
		"paths":    {repository.Filter{Paths: []string{"/p", "/q"}}, []int{0}},
		"since":    {repository.Filter{Since: time.Unix(200, 0)}, []int{1, 2}},
		"until":    {repository.Filter{Until: time.Unix(200, 0)}, []int{0}},
		"between":  {repository.Filter{Since: time.Unix(101, 0), Until: time.Unix(300, 0)}, []int{1}},
	} {
		var want []repository.ID
		for _, i := range c.want {
			want = append(want, made[i])
		}
		require.Equal(t, want, ids(t, r, c.f), name)
	}
}

func TestTag(t *testing.T) {
	b := mem.New()
	r := repositorytest.Init(t, b)
	made := daily(t, r, 2, "old")
	tags := func() (all []string) {
		for s, err := range r.Snapshots(t.Context(), repository.Filter{}) {
			require.NoError(t, err)
			all = append(all, fmt.Sprint(s.Tags))
		}
		return all
	}
	would, err := r.Tag(t.Context(), repository.TagChange{Add: []string{"x"}}, &repository.TagOptions{DryRun: true})
	require.NoError(t, err)
	require.Len(t, would, 2)
	require.Equal(t, made, ids(t, r, repository.Filter{}))

	done, err := r.Tag(t.Context(), repository.TagChange{Add: []string{"x", "old", "x"}}, &repository.TagOptions{Snapshots: made[:1]})
	require.NoError(t, err)
	require.Len(t, done, 1)
	require.Equal(t, made[0], done[0].Old.ID)
	require.Equal(t, &made[0], done[0].New.Original)
	require.NotEqual(t, made[0], done[0].New.ID)
	require.Equal(t, []string{"[old x]", "[old]"}, tags())
	require.Equal(t, []repository.ID{done[0].New.ID, made[1]}, ids(t, r, repository.Filter{}))

	again, err := r.Tag(t.Context(), repository.TagChange{Set: []string{"y"}}, nil)
	require.NoError(t, err)
	require.Len(t, again, 2)
	require.Equal(t, &made[0], again[0].New.Original, "the first of all")
	require.Equal(t, []string{"[y]", "[y]"}, tags())
	none, err := r.Tag(t.Context(), repository.TagChange{Remove: []string{"z"}}, nil)
	require.NoError(t, err)
	require.Empty(t, none)
	_, err = r.Tag(t.Context(), repository.TagChange{Set: []string{}}, &repository.TagOptions{Filter: repository.Filter{Tags: []string{"y"}}})
	require.NoError(t, err)
	require.Equal(t, []string{"[]", "[]"}, tags())
	require.Empty(t, sizes(t, b, backend.Lock))
	repositorytest.RequireClean(t, r)
	for _, c := range []repository.TagChange{{}, {Set: []string{"a"}, Add: []string{"b"}}, {Add: []string{""}}} {
		_, err := r.Tag(t.Context(), c, nil)
		require.ErrorContains(t, err, "change: ")
	}
}

func TestGroup(t *testing.T) {
	all := []*repository.Snapshot{
		{Hostname: "b", Paths: []string{"/y", "/x"}, Tags: []string{"t"}},
		{Hostname: "a", Paths: []string{"/x"}},
		{Hostname: "b", Paths: []string{"/x", "/y"}, Tags: []string{"u"}},
	}
	got := (repository.GroupByHost | repository.GroupByPaths).Group(all)
	require.Equal(t, []repository.SnapshotGroup{
		{GroupKey: repository.GroupKey{Hostname: "a", Paths: []string{"/x"}}, Snapshots: all[1:2]},
		{GroupKey: repository.GroupKey{Hostname: "b", Paths: []string{"/x", "/y"}}, Snapshots: []*repository.Snapshot{all[0], all[2]}},
	}, got)
	require.Equal(t, ` host "b" paths ["/x" "/y"]`, got[1].String())
	require.Len(t, repository.GroupByTags.Group(all), 3)
	for _, together := range []repository.GroupBy{0, repository.GroupTogether} {
		require.Equal(t, []repository.SnapshotGroup{{Snapshots: all}}, together.Group(all))
	}
	require.Empty(t, repository.GroupByHost.Group(nil))
}
