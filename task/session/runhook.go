package session

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/escrow-backup/escrow/task"
)

// RunHook is the Function run-hook: it executes the hooks of a session that run before or after its Functions. Its arguments are those that
// task.Resolve gives it: --hook-type, --namespace, --backupsession, --restoresession or --restorebatch, --hostname. In a pod, what runs afterwards
// runs only if all before it succeeded; for hooks that tell of failures, whoever watches the pod runs it again, with --failed. --batch executes
// those of a batch as a whole.
func (h *Hooks) RunHook(ctx context.Context, store task.Store, args []string) error {
	f := flag.NewFlagSet(task.HookFunction, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	hookType := f.String("hook-type", "", "preBackup, postBackup, preRestore or postRestore")
	ns := f.String("namespace", "default", "namespace of the session")
	backup := f.String("backupsession", "", "the BackupSession")
	restore := f.String("restoresession", "", "the RestoreSession")
	batch := f.String("restorebatch", "", "the RestoreBatch")
	whole := f.Bool("batch", false, "the hooks of a batch as a whole, not those of a member")
	failed := f.Bool("failed", false, "what ran before the hooks has failed")
	host := f.String("hostname", "", "host of the target")
	f.String("output-dir", "", "directory of the Functions' outputs")
	err := f.Parse(args)
	given := slices.DeleteFunc([]string{*backup, *restore, *batch}, func(s string) bool { return s == "" })
	if err == nil && len(given) != 1 {
		err = errors.New("one of --backupsession, --restoresession and --restorebatch is required")
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", task.HookFunction, fs.ErrInvalid, err)
	}
	data := HookData{Namespace: *ns}
	var before, after []task.Hook
	switch {
	case *backup != "":
		before, after, err = backupHooks(ctx, store, *ns, *backup, *host, *whole, &data)
	case *restore != "":
		before, after, err = restoreHooks(ctx, store, *ns, *restore, &data)
	default:
		before, after, err = restoreBatchHooks(ctx, store, *ns, *batch, *host, *whole, &data)
	}
	if err == nil {
		switch *hookType {
		case task.HookPreBackup, task.HookPreRestore:
			data.Status.Phase = task.SessionRunning
			err = h.Before(ctx, before, data)
		case task.HookPostBackup, task.HookPostRestore:
			data.Status.Phase = task.SessionSucceeded
			if *failed {
				data.Status.Phase = task.SessionFailed
			}
			err = h.After(ctx, after, data, *failed)
		default:
			err = fmt.Errorf("--hook-type %q: %w", *hookType, fs.ErrInvalid)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", task.HookFunction, err)
	}
	return nil
}

func backupHooks(ctx context.Context, store task.Store, ns, name, host string, whole bool, data *HookData) (before, after []task.Hook, err error) {
	s := new(task.BackupSession)
	if err := store.Get(ctx, ns, name, s); err != nil {
		return nil, nil, err
	}
	data.Session, data.Invoker = s.Name, s.Spec.Invoker
	var invoker task.Object = new(task.BackupConfiguration)
	if s.Spec.Invoker.Kind == task.KindBackupBatch {
		invoker = new(task.BackupBatch)
	}
	if err := store.Get(ctx, ns, s.Spec.Invoker.Name, invoker); err != nil {
		return nil, nil, err
	}
	data.Status.Duration = s.Status.SessionDuration
	member := 0
	if b, ok := invoker.(*task.BackupBatch); ok {
		if whole {
			for i := range s.Status.Targets {
				data.Status.Error = cmp.Or(data.Status.Error, backupError(&s.Status.Targets[i]))
			}
			return BeforeBackup(b.Spec.Hooks), AfterBackup(b.Spec.Hooks), nil
		}
		aliases := make([]string, len(b.Spec.Members))
		for i := range b.Spec.Members {
			if t := b.Spec.Members[i].Target; t != nil {
				aliases[i] = t.Alias
			}
		}
		if member, err = memberOf(b, aliases, host); err != nil {
			return nil, nil, err
		}
	}
	data.Target = targets(invoker)[member]
	if member < len(s.Status.Targets) {
		data.Status.Error = backupError(&s.Status.Targets[member])
	}
	hooks := hooksOf(invoker, member)
	return BeforeBackup(hooks), AfterBackup(hooks), nil
}

func restoreHooks(ctx context.Context, store task.Store, ns, name string, data *HookData) (before, after []task.Hook, err error) {
	s := new(task.RestoreSession)
	if err := store.Get(ctx, ns, name, s); err != nil {
		return nil, nil, err
	}
	data.Session = s.Name
	data.Invoker = task.BackupInvokerRef{APIGroup: task.GroupVersion.Group, Kind: task.KindRestoreSession, Name: s.Name}
	data.Status.Duration, data.Status.Error = s.Status.SessionDuration, restoreError(s.Status.Stats)
	data.Target = TargetsOf(s)[0]
	return BeforeRestore(s.Spec.Hooks), AfterRestore(s.Spec.Hooks), nil
}

func restoreBatchHooks(ctx context.Context, store task.Store, ns, name, host string, whole bool, data *HookData) (before, after []task.Hook, err error) {
	b := new(task.RestoreBatch)
	if err := store.Get(ctx, ns, name, b); err != nil {
		return nil, nil, err
	}
	data.Session, data.Status.Duration = b.Name, b.Status.SessionDuration
	data.Invoker = task.BackupInvokerRef{APIGroup: task.GroupVersion.Group, Kind: task.KindRestoreBatch, Name: b.Name}
	if whole {
		for i := range b.Status.Members {
			data.Status.Error = cmp.Or(data.Status.Error, restoreError(b.Status.Members[i].Stats))
		}
		return BeforeRestore(b.Spec.Hooks), AfterRestore(b.Spec.Hooks), nil
	}
	aliases := make([]string, len(b.Spec.Members))
	for i := range aliases {
		aliases[i] = memberAlias(b, i)
	}
	member, err := memberOf(b, aliases, host)
	if err != nil {
		return nil, nil, err
	}
	if member < len(b.Status.Members) {
		data.Status.Error = restoreError(b.Status.Members[member].Stats)
	}
	data.Target = TargetsOf(b)[member]
	hooks := b.Spec.Members[member].Hooks
	return BeforeRestore(hooks), AfterRestore(hooks), nil
}

// memberOf is the position of the member whose host is meant.
func memberOf(batch task.Object, aliases []string, host string) (int, error) {
	for i, alias := range aliases {
		if task.Host(alias) == task.Host(host) {
			return i, nil
		}
	}
	return 0, fmt.Errorf("%v has no member with the alias %q", batch, host)
}

func backupError(t *task.BackupTargetStatus) string {
	for _, h := range t.Stats {
		if h.Error != "" {
			return h.Error
		}
	}
	return ""
}

func restoreError(stats []task.HostRestoreStats) string {
	for _, h := range stats {
		if h.Error != "" {
			return h.Error
		}
	}
	return ""
}
