// Command quickstart shows what escrow does, on data that it makes itself: it fills an Elasticsearch, backs it up, changes
// it, backs it up again, deletes the indices, restores them and compares every document.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -keep                                  # keep the repository, to look at it with restic
//	go run ./examples/quickstart -elasticsearch http://127.0.0.1:9200   # on a real Elasticsearch
//
// Without -elasticsearch it starts one in memory. On a real one it works in indices of its own, whose names begin with
// "escrow-quickstart-" and a random number, and removes them at the end, also when it fails or is interrupted. Credentials
// come from ES_USERNAME and ES_PASSWORD, or ES_API_KEY.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // from here on a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr))
}

// run is the whole program; it returns the exit code: 0 done, 1 failed, 2 wrong usage.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("quickstart", flag.ContinueOnError)
	flags.SetOutput(stderr)
	url := flags.String("elasticsearch", "", "URL of a real Elasticsearch (default: one in memory)")
	keep := flags.Bool("keep", false, "keep the repository, and print how to look at it with restic")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if flags.NArg() > 0 {
		fmt.Fprintf(stderr, "quickstart: %q: no arguments wanted\n", flags.Arg(0))
		return 2
	}
	d := &demo{screen: newScreen(stdout, stderr, env), env: env, url: *url, keep: *keep, shop: shop}
	if err := d.run(ctx); err != nil {
		what := ""
		if ctx.Err() != nil {
			what = "interrupted: "
		}
		fmt.Fprintf(stderr, "quickstart: %s%s\n", what, strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; "))
		return 1
	}
	return 0
}
