package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/spf13/pflag"

	"github.com/escrow-backup/escrow/repository"
)

// parsed is a flag whose value is read by a function.
type parsed struct {
	set   func(string) error
	kind  string
	value string
}

func (p *parsed) Set(s string) error {
	if err := p.set(s); err != nil {
		return err
	}
	p.value = s
	return nil
}

func (p *parsed) String() string { return p.value }
func (p *parsed) Type() string   { return p.kind }

// policyFlags are named as restic's.
func policyFlags(f *pflag.FlagSet, p *repository.Policy) {
	number := func(name, short string, to *int, usage string) {
		f.VarP(&parsed{kind: "n", set: func(s string) (err error) {
			if s == "unlimited" {
				*to = repository.KeepAll
				return nil
			}
			n, err := strconv.ParseUint(s, 10, 31)
			*to = int(n)
			return err
		}}, name, short, usage)
	}
	number("keep-last", "l", &p.Last, "keep the last `N` snapshots, or unlimited")
	number("keep-hourly", "H", &p.Hourly, "keep the last snapshot of each of the last `N` hours with snapshots")
	number("keep-daily", "d", &p.Daily, "keep the last snapshot of each of the last `N` days with snapshots")
	number("keep-weekly", "w", &p.Weekly, "keep the last snapshot of each of the last `N` weeks with snapshots")
	number("keep-monthly", "m", &p.Monthly, "keep the last snapshot of each of the last `N` months with snapshots")
	number("keep-yearly", "y", &p.Yearly, "keep the last snapshot of each of the last `N` years with snapshots")
	duration := func(name string, to *repository.Duration, usage string) {
		f.Var(&parsed{kind: "duration", set: to.Set}, name, usage)
	}
	duration("keep-within", &p.Within, "keep all snapshots that are younger, by the newest, than `DURATION`, such as 1y5m7d2h")
	duration("keep-within-hourly", &p.WithinHourly, "keep the last snapshot of each hour of the last `DURATION`")
	duration("keep-within-daily", &p.WithinDaily, "keep the last snapshot of each day of the last `DURATION`")
	duration("keep-within-weekly", &p.WithinWeekly, "keep the last snapshot of each week of the last `DURATION`")
	duration("keep-within-monthly", &p.WithinMonthly, "keep the last snapshot of each month of the last `DURATION`")
	duration("keep-within-yearly", &p.WithinYearly, "keep the last snapshot of each year of the last `DURATION`")
	tagLists(f, &p.Tags, "keep-tag", "keep snapshots with all of these `TAGS`, commas between them; repeatable")
}

func tagLists(f *pflag.FlagSet, to *[]repository.TagList, name, usage string) {
	f.Var(&parsed{kind: "tags", set: func(s string) error {
		*to = append(*to, repository.ParseTagList(s))
		return nil
	}}, name, usage)
}

// filterFlags choose snapshots as restic's do.
func filterFlags(f *pflag.FlagSet, to *repository.Filter) {
	f.StringArrayVar(&to.Hostnames, "host", nil, "only snapshots of this `HOST`; repeated: of one of them")
	tagLists(f, &to.AnyTags, "tag", "only snapshots with all of these `TAGS`, commas between them; repeated: with one of the lists")
	f.StringArrayVar(&to.Paths, "path", nil, "only snapshots of this `PATH`; repeated: of all of them")
}

// moment is a flag for a time: a day or a second of this machine's time zone, or one that names its zone.
func moment(f *pflag.FlagSet, to *time.Time, name, usage string) {
	f.Var(&parsed{kind: "time", set: func(s string) (err error) {
		for _, form := range []string{time.DateOnly, time.DateTime, time.RFC3339} {
			if *to, err = time.ParseInLocation(form, s, time.Local); err == nil {
				return nil
			}
		}
		return errors.New("want a time such as 2026-01-31 or 2026-01-31T12:00:00Z")
	}}, name, usage)
}
