package session

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"

	"github.com/escrow-backup/escrow/task"
)

// RunHook is the Function run-hook: it executes the hooks of a session that run before or after its Functions. Its arguments are those that
// task.Resolve gives it: --hook-type, --namespace, --backupsession or --restoresession, --hostname. In a pod, what runs afterwards runs only if all
// before it succeeded; for hooks that tell of failures, whoever watches the pod calls [Hooks.After].
func (h *Hooks) RunHook(ctx context.Context, store task.Store, args []string) error {
	f := flag.NewFlagSet(task.HookFunction, flag.ContinueOnError)
	f.SetOutput(io.Discard)
	hookType := f.String("hook-type", "", "preBackup, postBackup, preRestore or postRestore")
	ns := f.String("namespace", "default", "namespace of the session")
	backup := f.String("backupsession", "", "the BackupSession")
	restore := f.String("restoresession", "", "the RestoreSession")
	host := f.String("hostname", "", "host of the target")
	f.String("output-dir", "", "directory of the Functions' outputs")
	err := f.Parse(args)
	if err == nil && (*backup == "") == (*restore == "") {
		err = errors.New("one of --backupsession and --restoresession is required")
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", task.HookFunction, fs.ErrInvalid, err)
	}
	data := HookData{Namespace: *ns}
	var before, after []task.Hook
	if *backup != "" {
		before, after, err = backupHooks(ctx, store, *ns, *backup, *host, &data)
	} else {
		before, after, err = restoreHooks(ctx, store, *ns, *restore, &data)
	}
	if err == nil {
		switch *hookType {
		case task.HookPreBackup, task.HookPreRestore:
			data.Status.Phase = task.SessionRunning
			err = h.Before(ctx, before, data)
		case task.HookPostBackup, task.HookPostRestore:
			data.Status.Phase = task.SessionSucceeded
			err = h.After(ctx, after, data, false)
		default:
			err = fmt.Errorf("--hook-type %q: %w", *hookType, fs.ErrInvalid)
		}
	}
	if err != nil {
		return fmt.Errorf("%s: %w", task.HookFunction, err)
	}
	return nil
}

func backupHooks(ctx context.Context, store task.Store, ns, name, host string, data *HookData) (before, after []task.Hook, err error) {
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
	member := 0
	if b, ok := invoker.(*task.BackupBatch); ok {
		member = -1
		for i := range b.Spec.Members {
			if t := b.Spec.Members[i].Target; t != nil && task.Host(t.Alias) == task.Host(host) {
				member = i
			}
		}
		if member < 0 {
			return nil, nil, fmt.Errorf("%v has no member with the alias %q", b, host)
		}
	}
	data.Target = targets(invoker)[member]
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
	if s.Spec.Target != nil {
		data.Target = s.Spec.Target.Ref
	}
	return BeforeRestore(s.Spec.Hooks), AfterRestore(s.Spec.Hooks), nil
}
