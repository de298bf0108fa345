package repository_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend/mem"
)

// nightly makes a repository with a snapshot of one file from each of ten nights.
func nightly(ctx context.Context) *repository.Repo {
	r, err := repository.Init(ctx, mem.New(), "secret", &repository.Options{ScryptN: 16, LockSettle: time.Millisecond})
	if err != nil {
		log.Fatal(err)
	}
	for night := range 10 {
		h := repository.Header{Time: time.Date(2026, 1, 1+night, 3, 0, 0, 0, time.UTC), Hostname: "db-1", Tags: []string{"nightly"}}
		_, err := r.Write(ctx, h, func(_ context.Context, w *repository.Writer) error {
			f, err := w.Create("file")
			if err != nil {
				return err
			}
			if _, err := fmt.Fprintf(f, "night %d\n", night); err != nil {
				return err
			}
			return f.Close()
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	return r
}

func ExampleRepo_PlanForget() {
	ctx := context.Background()
	r := nightly(ctx)
	defer r.Close()
	plan, err := r.PlanForget(ctx, repository.Policy{Last: 1, Weekly: 2}, &repository.ForgetOptions{
		Filter: repository.Filter{Tags: []string{"nightly"}},
	})
	if err != nil {
		log.Fatal(err)
	}
	for _, g := range plan.Groups {
		for _, k := range g.Keep {
			fmt.Println("keep", k.Time.Format(time.DateOnly), k.Reasons)
		}
		fmt.Println("remove", len(g.Remove))
	}
	// plan.String() has it all, to be shown to a person. Nothing has changed so far.
	if err := r.Forget(ctx, plan); err != nil {
		log.Fatal(err)
	}
	// Output:
	// keep 2026-01-10 [last snapshot weekly snapshot]
	// keep 2026-01-04 [weekly snapshot]
	// remove 8
}

func ExampleRepo_PlanPrune() {
	ctx := context.Background()
	r := nightly(ctx)
	defer r.Close()
	old, err := r.PlanForget(ctx, repository.Policy{Last: 2}, nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Forget(ctx, old); err != nil {
		log.Fatal(err)
	}
	plan, err := r.PlanPrune(ctx, &repository.PruneOptions{MaxUnused: repository.UnusedPercent(5)})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(plan.Used.Count, "blobs are used,", plan.Unused.Count, "are not")
	fmt.Println(plan.Keep.Count, "packs stay,", plan.Remove.Count, "go")
	if err := r.Prune(ctx, plan); err != nil {
		log.Fatal(err)
	}
	plan, err = r.PlanPrune(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("nothing left to do:", plan.Empty())
	// Output:
	// 4 blobs are used, 16 are not
	// 4 packs stay, 16 go
	// nothing left to do: true
}

func ExampleRepo_Tag() {
	ctx := context.Background()
	r := nightly(ctx)
	defer r.Close()
	latest, err := r.Snapshot(ctx, "latest")
	if err != nil {
		log.Fatal(err)
	}
	changed, err := r.Tag(ctx, repository.TagChange{Add: []string{"before-upgrade"}},
		&repository.TagOptions{Snapshots: []repository.ID{latest.ID}})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range changed {
		fmt.Println(c.New.Tags, *c.New.Original == latest.ID, c.New.ID == latest.ID)
	}
	// Output: [nightly before-upgrade] true false
}

func ExampleRepo_Unlock() {
	ctx := context.Background()
	r := nightly(ctx)
	defer r.Close()
	removed, err := r.Unlock(ctx, nil)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(removed), "stale locks")
	// Output: 0 stale locks
}

func ExampleParseDuration() {
	d, err := repository.ParseDuration("1y6m")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(d.Years, d.Months, d)
	// Output: 1 6 1y6m
}
