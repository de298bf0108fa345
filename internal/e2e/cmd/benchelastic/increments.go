package main

import (
	"context"
	"fmt"
	"os"
)

// increment builds on a backup of everything: unchanged, with documents added, and with documents updated many times.
func (b *bench) increment(ctx context.Context) error {
	full, err := b.another(ctx)
	if err != nil {
		return err
	}
	if b.unchanged > 0 {
		if err := b.s.rest(ctx); err != nil {
			return err
		}
		// The server compiles what it runs often: not while that is measured.
		if _, err := b.backup(ctx, task{Repo: "full", Times: b.unchanged}); err != nil {
			return err
		}
		o, err := b.backup(ctx, task{Repo: "full", Times: b.unchanged, Method: "-unchanged"})
		if err != nil {
			return err
		}
		if o.Docs != 0 {
			return fmt.Errorf("nothing has changed, and %d documents were read", o.Docs)
		}
		c := o.Cost
		b.table.method("escrow, increment without a change", b.docs, c)
		b.table.ratio(fmt.Sprintf("unchanged (mean of %d): time, %% of the full backup's", b.unchanged), 100*c.Wall/full.Wall, false, 2)
		b.table.ratio(fmt.Sprintf("unchanged: server CPU, %% of the full backup's (the idle server's %.2f%% of a core not counted)", 100*b.s.idle),
			100*(c.Server-b.s.idle*c.Wall)/full.Server, false, 0.5)
	}
	before, more := b.docs, b.docs/100
	var appended []cost
	for n := range b.rounds {
		if _, err := b.s.write(ctx, logs, uint64(77+n), more, func(i int) int { return 1<<40 + n*more + i }); err != nil {
			return err
		}
		o, err := b.backup(ctx, task{Repo: "full", Method: "-appended"})
		if err != nil {
			return err
		}
		if int(o.Docs) < more {
			return fmt.Errorf("%d documents were added, and %d read", more, o.Docs)
		}
		b.docs += more
		appended = append(appended, o.Cost)
	}
	b.table.ratio("1% appended: time, % of the full backup's", 100*median(appended).Wall/full.Wall, false, 5)
	changed := func(which string) error {
		o, err := b.backup(ctx, task{Repo: "full", Method: "-updated"})
		if err != nil || which == "" {
			return err
		}
		b.table.ratio(which+": time, % of the full backup's", 100*o.Cost.Wall/full.Wall, false, 0)
		b.table.ratio(which+": server CPU, % of the full backup's", 100*o.Cost.Server/full.Server, false, 0)
		b.table.ratio(which+": _source read again, %", 100*float64(o.Docs)/float64(b.docs), false, 3)
		b.table.ratio(which+": bytes added to the repository, % of the full backup's", 100*float64(o.Added)/float64(b.added), false, 5)
		b.table.ratio(which+": bytes of all answers, % of the _source", 100*float64(o.Wire)/float64(b.bytes), false, 0)
		return nil
	}
	for n := range b.increments {
		if err := b.s.update(ctx, 1000+uint64(n), before); err != nil {
			return err
		}
		which := ""
		if n == 0 || n == b.increments-1 {
			which = fmt.Sprintf("1%% updated at random (increment %d)", n+1)
		}
		if err := changed(which); err != nil {
			return err
		}
	}
	if b.increments == 0 {
		return nil
	}
	for n := range min(b.increments, 3) {
		if err := b.s.deleteSome(ctx, logs, 6+uint64(n), before); err != nil {
			return err
		}
		if err := changed(fmt.Sprintf("1%% deleted at random (increment %d)", n+1)); err != nil {
			return err
		}
	}
	if b.docs, err = b.s.count(ctx, logs); err != nil { // updates bring back what was deleted
		return err
	}
	if _, err := b.backup(ctx, task{Repo: "fresh"}); err != nil {
		return err
	}
	long, err := size(b.repo("full"))
	if err != nil {
		return err
	}
	short, err := size(b.repo("fresh"))
	if err != nil {
		return err
	}
	b.table.ratio(fmt.Sprintf("after %d of these: the repository beside one with a full backup", b.increments), float64(long)/float64(short), false, 1.6)
	taken := map[string][]cost{}
	for range loads(b.rounds) {
		for _, repo := range []string{"fresh", "full"} {
			c, err := b.restore(ctx, repo)
			if err != nil {
				return err
			}
			taken[repo] = append(taken[repo], c)
		}
	}
	b.table.method("escrow, restore of a full backup", b.docs, median(taken["fresh"]))
	b.table.method("escrow, restore of increments", b.docs, median(taken["full"]))
	b.table.ratio("after these: the time of a restore beside that of a full backup", median(taken["full"]).Wall/median(taken["fresh"]).Wall, false, 1.3)
	return os.RemoveAll(b.repo("fresh"))
}

// loads is how often something is loaded that is read so many times: it takes longer.
func loads(rounds int) int { return max(rounds-1, 1) }

// restore restores the newest snapshot, and removes the index again.
func (b *bench) restore(ctx context.Context, repo string) (cost, error) {
	o, err := b.do(ctx, task{Do: "restore", Index: logs, To: restored, Repo: b.repo(repo)})
	if err != nil {
		return cost{}, err
	}
	n, err := b.s.count(ctx, restored)
	if err != nil {
		return cost{}, err
	}
	if n != b.docs {
		return cost{}, fmt.Errorf("restored %d of %d documents", n, b.docs)
	}
	return o.Cost, b.s.remove(ctx, restored)
}
