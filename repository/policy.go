package repository

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// KeepAll is a number of a Policy without limit.
const KeepAll = -1

// Policy says which snapshots to keep: each one that any of its rules keeps. Hourly keeps the last snapshot of each of so
// many hours in which there are any, and likewise the others; an hour, day, ISO week, month or year is that of the time zone
// that the snapshot was made in. The numbers count from the newest snapshot on, and KeepAll has no limit.
//
// Durations count back from the newest snapshot that is not of the future.
//
// The answers are those of restic 0.14. (Later versions also keep the oldest snapshot where a rule is not used up.)
type Policy struct {
	Last    int
	Hourly  int
	Daily   int
	Weekly  int
	Monthly int
	Yearly  int

	Within        Duration // all that are younger
	WithinHourly  Duration // the last of each hour of those that are younger
	WithinDaily   Duration
	WithinWeekly  Duration
	WithinMonthly Duration
	WithinYearly  Duration

	Tags []TagList // those with all tags of one of the lists
}

// Empty reports whether p has no rule. Such a policy keeps everything.
func (p Policy) Empty() bool {
	return !slices.ContainsFunc(p.rules(), rule.active) && p.Within == Duration{} && len(p.Tags) == 0
}

// check returns an error unless the policy makes sense.
func (p Policy) check() error {
	for _, r := range p.rules() {
		if r.count < KeepAll {
			return fmt.Errorf("policy: %s: %d is negative", r.reason, r.count)
		}
		if r.within.negative() {
			return fmt.Errorf("policy: %s within %v: negative", r.reason, r.within)
		}
	}
	if p.Within.negative() {
		return fmt.Errorf("policy: within %v: negative", p.Within)
	}
	return nil
}

// rule keeps the last snapshot of each period.
type rule struct {
	count  int      // how many periods
	within Duration // or how far back
	period func(t time.Time) [4]int
	reason string
}

func (r rule) active() bool { return r.count != 0 || r.within != Duration{} }

func hour(t time.Time) [4]int {
	y, m, d := t.Date()
	return [4]int{y, int(m), d, t.Hour()}
}

func day(t time.Time) [4]int {
	y, m, d := t.Date()
	return [4]int{y, int(m), d}
}

func week(t time.Time) [4]int {
	y, w := t.ISOWeek()
	return [4]int{y, w}
}

func month(t time.Time) [4]int { return [4]int{t.Year(), int(t.Month())} }
func year(t time.Time) [4]int  { return [4]int{t.Year()} }

func (p Policy) rules() []rule {
	return []rule{
		{p.Last, Duration{}, nil, "last snapshot"},
		{p.Hourly, Duration{}, hour, "hourly snapshot"},
		{p.Daily, Duration{}, day, "daily snapshot"},
		{p.Weekly, Duration{}, week, "weekly snapshot"},
		{p.Monthly, Duration{}, month, "monthly snapshot"},
		{p.Yearly, Duration{}, year, "yearly snapshot"},
		{0, p.WithinHourly, hour, "hourly"},
		{0, p.WithinDaily, day, "daily"},
		{0, p.WithinWeekly, week, "weekly"},
		{0, p.WithinMonthly, month, "monthly"},
		{0, p.WithinYearly, year, "yearly"},
	}
}

// apply says for each snapshot, the newest of which is the first, why it is kept. No reason: it is not.
func (p Policy) apply(newestFirst []*Snapshot, now time.Time) [][]string {
	reasons := make([][]string, len(newestFirst))
	if p.Empty() {
		for i := range reasons {
			reasons[i] = []string{"policy is empty"}
		}
		return reasons
	}
	var latest time.Time
	for _, s := range newestFirst {
		if s.Time.Before(now) {
			latest = s.Time
			break
		}
	}
	rules := p.rules()
	last := make([]*[4]int, len(rules)) // the period in which the rule kept one
	for i, s := range newestFirst {
		keep := func(format string, args ...any) { reasons[i] = append(reasons[i], fmt.Sprintf(format, args...)) }
		for _, l := range p.Tags {
			if l.matches(s.Tags) {
				keep("has tags [%s]", strings.Join(l, ", "))
			}
		}
		if (p.Within != Duration{}) && s.Time.After(p.Within.before(latest)) {
			keep("within %v", p.Within)
		}
		for n := range rules {
			r := &rules[n]
			timed := r.within != Duration{}
			if !r.active() || timed && !s.Time.After(r.within.before(latest)) {
				continue
			}
			if r.period != nil {
				at := r.period(s.Time)
				if last[n] != nil && *last[n] == at {
					continue
				}
				last[n] = &at
			}
			if timed {
				keep("%s within %v", r.reason, r.within)
				continue
			}
			if r.count > 0 {
				r.count--
			}
			keep("%s", r.reason)
		}
	}
	return reasons
}

// Duration is a length of time in the calendar: what a month is depends on where one counts from.
type Duration struct {
	Years, Months, Days, Hours int
}

// ParseDuration reads a duration as restic writes it, such as "1y5m7d2h": years, months, days, hours.
func ParseDuration(s string) (Duration, error) {
	var d Duration
	bad := func() (Duration, error) {
		return Duration{}, fmt.Errorf("duration %q: want years, months, days and hours, such as 1y5m7d2h", s)
	}
	if s == "" {
		return bad()
	}
	for rest := s; rest != ""; {
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n == len(rest) {
			return bad()
		}
		v, err := strconv.ParseUint(rest[:n], 10, 31)
		if err != nil {
			if errors.Is(err, strconv.ErrRange) {
				return Duration{}, fmt.Errorf("duration %q: too long", s)
			}
			return bad()
		}
		units := map[byte]*int{'y': &d.Years, 'm': &d.Months, 'd': &d.Days, 'h': &d.Hours}
		unit := units[rest[n]]
		if unit == nil {
			return bad()
		}
		*unit = int(v)
		rest = rest[n+1:]
	}
	return d, nil
}

// String gives the duration as ParseDuration reads it.
func (d Duration) String() string {
	s := ""
	for _, part := range []struct {
		n    int
		unit string
	}{{d.Years, "y"}, {d.Months, "m"}, {d.Days, "d"}, {d.Hours, "h"}} {
		if part.n != 0 {
			s += strconv.Itoa(part.n) + part.unit
		}
	}
	if s == "" {
		return "0h"
	}
	return s
}

// Set is ParseDuration for packages of command-line flags.
func (d *Duration) Set(s string) (err error) {
	*d, err = ParseDuration(s)
	return err
}

func (d Duration) negative() bool { return d.Years < 0 || d.Months < 0 || d.Days < 0 || d.Hours < 0 }

// before is the time that lies d before t.
func (d Duration) before(t time.Time) time.Time {
	t = t.AddDate(-d.Years, -d.Months, -d.Days)
	// A time.Duration holds no more than 292 years; days of UTC all have 24 hours.
	return t.UTC().AddDate(0, 0, -(d.Hours / 24)).Add(-time.Duration(d.Hours%24) * time.Hour)
}
