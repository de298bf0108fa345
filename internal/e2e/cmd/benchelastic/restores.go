package main

import (
	"context"
	"fmt"
)

// settings of bulk requests that are tried.
var (
	sizes         = []int{1 << 20, 5 << 20, 10 << 20}
	concurrencies = []int{1, 2, 4}
)

// restores compares a restore with a writer of bodies that are there already, at its best setting.
func (b *bench) restores(ctx context.Context) error {
	if _, err := b.another(ctx); err != nil {
		return err
	}
	if _, err := b.write(ctx, 5<<20, 2, b.docs/5); err != nil { // the server compiles what it runs often: not while that is measured
		return err
	}
	bestSize, bestConcurrency, best := 0, 0, cost{}
	for _, size := range sizes {
		for _, concurrency := range concurrencies {
			c, err := b.write(ctx, size, concurrency, b.docs/5)
			if err != nil {
				return err
			}
			if best.Wall == 0 || c.Wall < best.Wall {
				bestSize, bestConcurrency, best = size, concurrency, c
			}
		}
	}
	var ours, writer []cost
	for range loads(b.rounds) {
		c, err := b.write(ctx, bestSize, bestConcurrency, b.docs)
		if err != nil {
			return err
		}
		writer = append(writer, c)
		if c, err = b.restore(ctx, "full"); err != nil {
			return err
		}
		ours = append(ours, c)
	}
	b.table.method(fmt.Sprintf("writer of prebuilt bodies, %d MiB, %d at a time", bestSize>>20, bestConcurrency), b.docs, median(writer))
	b.table.method("escrow, restore", b.docs, median(ours))
	b.table.ratio("restore: throughput beside the writer's", median(writer).Wall/median(ours).Wall, true, 0.92)
	b.table.ratio("restore: server CPU beside the writer's", median(ours).Server/median(writer).Server, false, 0)
	return nil
}

// write writes the first documents of the newest snapshot.
func (b *bench) write(ctx context.Context, size, concurrency, docs int) (cost, error) {
	if err := b.s.create(ctx, written); err != nil {
		return cost{}, err
	}
	o, err := b.do(ctx, task{Do: "bulk", Index: logs, To: written, Repo: b.repo("full"), Size: size, Concurrency: concurrency, Docs: docs})
	if err != nil {
		return cost{}, err
	}
	n, err := b.s.count(ctx, written)
	if err != nil {
		return cost{}, err
	}
	if n != docs || o.Docs != int64(n) {
		return cost{}, fmt.Errorf("wrote %d of %d documents, %d are there", o.Docs, docs, n)
	}
	return o.Cost, b.s.remove(ctx, written)
}
