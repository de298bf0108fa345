package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/escrow-backup/escrow/internal/e2e/resticcli"
	"github.com/escrow-backup/escrow/repository"
)

// recordVariable names the file that restic's answers are written to; package repository's tests, which run without restic,
// compare with them:
//
//	ESCROW_E2E_RECORD=../../repository/testdata/forget.json go test -run TestForgetAsRestic ./
const recordVariable = "ESCROW_E2E_RECORD"

// forgetRecord is what restic decided on a list of snapshots, which are named by their place in it.
type forgetRecord struct {
	Command   string         `json:"command"`
	Restic    string         `json:"restic"`
	Snapshots []forgetHeader `json:"snapshots"`
	Cases     []forgetCase   `json:"cases"`
}

type forgetHeader struct {
	Time  time.Time `json:"time"`
	Host  string    `json:"host"`
	Paths []string  `json:"paths"`
	Tags  []string  `json:"tags"`
}

type forgetCase struct {
	Args   []string      `json:"args"`
	Groups []forgetGroup `json:"groups"`
}

type forgetGroup struct {
	Keep   []int      `json:"keep"`
	Why    [][]string `json:"why"`
	Remove []int      `json:"remove"`
}

// forgetSnapshots are of several hosts, paths, tags and time zones, close together and far apart, around the turn of years.
func forgetSnapshots() []forgetHeader {
	r := rand.New(rand.NewPCG(7, 7))
	at := time.Date(2019, 11, 20, 22, 30, 0, 0, time.UTC)
	gaps := []time.Duration{7 * time.Minute, 40 * time.Minute, 5 * time.Hour, 23 * time.Hour, 31 * time.Hour, 6 * 24 * time.Hour, 33 * 24 * time.Hour}
	tags := [][]string{nil, {"a"}, {"b", "a"}, {"a", "b"}, {"c"}, {"a", "b", "c"}}
	paths := [][]string{{"/data"}, {"/data"}, {"/etc", "/data"}, {"/data", "/etc"}}
	zones := []int{0, 0, 2, -5, 9}
	var all []forgetHeader
	for i := range 70 {
		at = at.Add(gaps[r.IntN(len(gaps))] + time.Duration(r.IntN(60))*time.Second)
		if i == 69 {
			at = time.Date(2098, 1, 1, 0, 0, 0, 0, time.UTC) // the clock was wrong
		}
		zone := zones[r.IntN(len(zones))]
		all = append(all, forgetHeader{
			Time: at.In(time.FixedZone("", zone*3600)), Host: []string{"one", "one", "two"}[r.IntN(3)],
			Paths: paths[r.IntN(len(paths))], Tags: tags[r.IntN(len(tags))],
		})
	}
	return all
}

// forgetArgs are policies with every flag by itself, and then some at random.
func forgetArgs() [][]string {
	all := [][]string{
		{"--keep-last", "3"}, {"--keep-hourly", "5"}, {"--keep-daily", "5"}, {"--keep-weekly", "4"}, {"--keep-monthly", "6"},
		{"--keep-yearly", "2"}, {"--keep-yearly", "100"}, {"--keep-within", "1y"}, {"--keep-within", "5m3d2h"}, {"--keep-within", "90d"},
		{"--keep-within-hourly", "40d"}, {"--keep-within-daily", "6m"}, {"--keep-within-weekly", "1y1m"}, {"--keep-within-monthly", "2y"},
		{"--keep-within-yearly", "30y"}, {"--keep-tag", "a"}, {"--keep-tag", "a,b"}, {"--keep-tag", "c", "--keep-tag", "b"},
		{"--keep-last", "1", "--group-by", ""}, {"--keep-last", "1", "--group-by", "host"}, {"--keep-last", "1", "--group-by", "paths"},
		{"--keep-last", "1", "--group-by", "tags"}, {"--keep-last", "1", "--group-by", "host,paths,tags"},
		{"--keep-last", "2", "--host", "two"}, {"--keep-last", "2", "--host", "two", "--host", "one"},
		{"--keep-last", "2", "--tag", "a,b"}, {"--keep-last", "2", "--tag", "c", "--tag", "b"}, {"--keep-last", "2", "--tag", ""},
		{"--keep-last", "2", "--path", "/etc"}, {"--keep-last", "2", "--path", "/etc", "--path", "/data", "--host", "one"},
		{"--keep-within-yearly", "90y", "--keep-daily", "3", "--group-by", ""},
	}
	r := rand.New(rand.NewPCG(8, 8))
	for range 15 {
		var args []string
		for _, name := range []string{"last", "hourly", "daily", "weekly", "monthly", "yearly"} {
			if r.IntN(3) == 0 {
				args = append(args, "--keep-"+name, fmt.Sprint(1+r.IntN(12)))
			}
		}
		for _, name := range []string{"", "-hourly", "-daily", "-weekly", "-monthly", "-yearly"} {
			if r.IntN(5) == 0 {
				args = append(args, "--keep-within"+name, fmt.Sprintf("%dm%dd%dh", r.IntN(20), r.IntN(40), 1+r.IntN(50)))
			}
		}
		if r.IntN(4) == 0 || len(args) == 0 {
			args = append(args, "--keep-tag", []string{"a", "b,c", "c"}[r.IntN(3)])
		}
		args = append(args, "--group-by", []string{"host,paths", "", "tags", "host"}[r.IntN(4)])
		all = append(all, args)
	}
	return all
}

// TestForgetAsRestic compares what restic and what we would remove, and why we would not.
func TestForgetAsRestic(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "repo")
	repo := newRepo(t, dir)
	number := map[string]int{}
	record := forgetRecord{Command: "restic forget --dry-run --json ARGS", Snapshots: forgetSnapshots()}
	for i, h := range record.Snapshots {
		s, err := repo.Write(t.Context(), repository.Header{Time: h.Time, Hostname: h.Host, Paths: h.Paths, Tags: h.Tags},
			func(context.Context, *repository.Writer) error { return nil })
		require.NoError(t, err)
		number[s.ID.String()] = i
	}
	restic := resticcli.New(t, dir, password)
	record.Restic = string(bytes.TrimSpace(restic.Run(t, "version")))
	c := newCLI(t)
	c.repo = dir
	for _, args := range forgetArgs() {
		theirs := resticForgets(t, restic, number, args)
		require.Equal(t, theirs, weForget(t, c, number, args), "args %q", args)
		record.Cases = append(record.Cases, forgetCase{args, theirs})
	}
	if file := os.Getenv(recordVariable); file != "" {
		text, err := json.Marshal(record)
		require.NoError(t, err)
		var lines bytes.Buffer // a line a case
		lines.Write(bytes.ReplaceAll(bytes.ReplaceAll(text, []byte(`{"args"`), []byte("\n{\"args\"")), []byte(`{"time"`), []byte("\n{\"time\"")))
		lines.WriteByte('\n')
		require.NoError(t, os.WriteFile(file, lines.Bytes(), 0o600))
	}

	// And then for good.
	args := []string{"--keep-daily", "3", "--keep-yearly", "2", "--group-by", "host"}
	want := resticForgets(t, restic, number, args)
	c.ok(t, slices.Concat([]string{"forget"}, args)...)
	var kept []int
	for _, g := range want {
		kept = append(kept, g.Keep...)
	}
	var left []int
	for _, s := range restic.Snapshots(t) {
		left = append(left, number[s.ID])
	}
	require.ElementsMatch(t, kept, left)
	restic.Check(t)
}

func sortGroups(groups []forgetGroup) []forgetGroup {
	slices.SortFunc(groups, func(a, b forgetGroup) int {
		return slices.Max(slices.Concat(a.Keep, a.Remove)) - slices.Max(slices.Concat(b.Keep, b.Remove))
	})
	return groups
}

func resticForgets(t *testing.T, restic *resticcli.CLI, number map[string]int, args []string) []forgetGroup {
	t.Helper()
	type snapshot struct {
		ID string `json:"id"`
	}
	var answer []struct {
		Keep    []snapshot `json:"keep"`
		Remove  []snapshot `json:"remove"`
		Reasons []struct {
			Snapshot snapshot `json:"snapshot"`
			Matches  []string `json:"matches"`
		} `json:"reasons"`
	}
	require.NoError(t, json.Unmarshal(restic.Run(t, slices.Concat([]string{"forget", "--dry-run", "--json"}, args)...), &answer))
	var groups []forgetGroup
	for _, a := range answer {
		g := forgetGroup{Keep: []int{}, Why: [][]string{}, Remove: []int{}}
		for i, s := range a.Keep {
			g.Keep = append(g.Keep, number[s.ID])
			g.Why = append(g.Why, a.Reasons[i].Matches)
		}
		for _, s := range a.Remove {
			g.Remove = append(g.Remove, number[s.ID])
		}
		groups = append(groups, g)
	}
	return sortGroups(groups)
}

func weForget(t *testing.T, c *cli, number map[string]int, args []string) []forgetGroup {
	t.Helper()
	out := c.ok(t, slices.Concat([]string{"forget", "--dry-run", "--json", "--unsafe-allow-remove-all"}, args)...).stdout
	var groups []forgetGroup
	d := json.NewDecoder(bytes.NewReader([]byte(out)))
	for {
		var line struct {
			Type    string   `json:"message_type"`
			Action  string   `json:"action"`
			ID      string   `json:"snapshot_id"`
			Reasons []string `json:"reasons"`
			Group   int      `json:"group"`
		}
		require.NoError(t, d.Decode(&line))
		if line.Type == "summary" {
			return sortGroups(groups)
		}
		if line.Group == len(groups) {
			groups = append(groups, forgetGroup{Keep: []int{}, Why: [][]string{}, Remove: []int{}})
		}
		g := &groups[line.Group]
		if line.Action == "keep" {
			g.Keep, g.Why = append(g.Keep, number[line.ID]), append(g.Why, line.Reasons)
		} else {
			g.Remove = append(g.Remove, number[line.ID])
		}
	}
}
