package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/escrow-backup/escrow/repository"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitUsage   = 2
	exitOmitted = 3
)

// usageError is an error of the person who typed the command.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// errOmitted ends a command that did its work and named what it had to leave out. It is never wrapped: with another error
// beside it, the command has failed.
var errOmitted = errors.New("something was omitted")

// app is one run of the program.
type app struct {
	env    func(string) string
	stdin  io.Reader
	stderr io.Writer
	out    *output

	place        place
	passwordFile string
	cacheDir     string
	compression  repository.Compression
	noLock       bool
	lockTimeout  time.Duration
	quiet        bool
	warning      *sync.Mutex // held while a warning is printed

	lockSettle time.Duration // tests only, as in repository.Options
	scryptN    int           // likewise
}

// run is the whole program: it never exits and touches nothing global, so that tests call it.
func run(ctx context.Context, args []string, env func(string) string, stdin io.Reader, stdout, stderr io.Writer) int {
	return newApp(env, stdin, stdout, stderr).run(ctx, args)
}

func newApp(env func(string) string, stdin io.Reader, stdout, stderr io.Writer) *app {
	return &app{env: env, stdin: stdin, stderr: stderr, out: &output{w: stdout}, warning: new(sync.Mutex)}
}

func (a *app) run(ctx context.Context, args []string) int {
	root := a.root()
	root.SetArgs(append([]string{}, args...))
	root.SetIn(a.stdin)
	root.SetOut(a.out)
	root.SetErr(a.stderr)

	started := false
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil || err == errOmitted {
		if werr := a.out.Err(); werr != nil {
			err = fmt.Errorf("write to standard output: %w", werr)
		}
	}
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case err == errOmitted:
		return exitOmitted
	case errors.As(err, &usage) || !started:
		fmt.Fprintf(a.stderr, "escrow: %s (see %s --help)\n", oneLine(err), cmd.CommandPath())
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintf(a.stderr, "escrow: %s: interrupted: %s\n", cmd.Name(), oneLine(err))
		return exitFailed
	default:
		fmt.Fprintf(a.stderr, "escrow: %s\n", oneLine(err))
		return exitFailed
	}
}

// oneLine gives the error on one line: joined errors stand on several.
func oneLine(err error) string {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(line); line != "" {
			parts = append(parts, line)
		}
	}
	return strings.Join(parts, "; ")
}

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "escrow",
		Short: "Back up Elasticsearch into an encrypted, deduplicating repository, and restore it",
		Long: `escrow backs up Elasticsearch into a repository in the restic format, and restores it from there.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but something was omitted and named.
With --json every line of standard output is an object with "message_type"; each command's help lists the fields.`,
		SilenceErrors:      true,
		SilenceUsage:       true,
		DisableSuggestions: true,
		RunE:               func(*cobra.Command, []string) error { return usagef("no command given") },
	}
	f := root.PersistentFlags()
	a.place.flags(f, a.env)
	f.StringVar(&a.passwordFile, "password-file", "",
		"`FILE` with the repository's password, - for standard input (default: $RESTIC_PASSWORD, or what the Repository's secret says)")
	f.StringVar(&a.cacheDir, "cache-dir", "", "`DIRECTORY` for copies of what is read of the repository by every command (default: none)")
	f.Var(&parsed{kind: "level", value: a.compression.String(), set: func(s string) (err error) {
		a.compression, err = repository.ParseCompression(s)
		return err
	}}, "compression", "how hard to compress what is stored: `LEVEL` fastest, default, better, max or off")
	f.BoolVar(&a.noLock, "no-lock", false, "do not lock the repository: for reading one that cannot be written")
	f.DurationVar(&a.lockTimeout, "lock-timeout", 0, "how long to wait for another program's lock")
	root.SetGlobalNormalizationFunc(func(_ *pflag.FlagSet, name string) pflag.NormalizedName {
		if name == "retry-lock" { // restic's name
			name = "lock-timeout"
		}
		return pflag.NormalizedName(name)
	})
	f.BoolVar(&a.out.json, "json", false, "print one JSON object per line")
	f.BoolVarP(&a.quiet, "quiet", "q", false, "no progress, and only the essence of the result")
	root.AddCommand(a.initCommand(), a.backupCommand(), a.restoreCommand(), a.verifyCommand(), a.snapshotsCommand(),
		a.lsCommand(), a.catCommand(), a.dumpCommand(), a.checkCommand(), a.forgetCommand(), a.pruneCommand(), a.tagCommand(),
		a.unlockCommand(), a.keyCommand(), a.copyCommand(), a.statsCommand(), a.diffCommand(), a.repairCommand(), a.migrateCommand(),
		a.exportCommand(), a.importCommand(), a.backupDirCommand(), a.restoreDirCommand(), a.backupESCommand(), a.restoreESCommand(),
		a.updateStatusCommand(), a.runHookCommand())
	return root
}
