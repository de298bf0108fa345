package controller

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// batchHooks are the hooks of a batch as a whole: before the first of its members, and after the last.
type batchHooks struct {
	hooks [2][]task.Hook
	// types are what run-hook calls them, set the conditions that tell of them; session is the argument that names the session.
	types, set [2]string
	session    string
	conditions *[]task.Condition
}

func hooksOfBackups(s *task.BackupSession, invoker task.Object) *batchHooks {
	b, ok := invoker.(*task.BackupBatch)
	if !ok {
		return nil
	}
	return &batchHooks{hooks: [2][]task.Hook{session.BeforeBackup(b.Spec.Hooks), session.AfterBackup(b.Spec.Hooks)},
		types:   [2]string{task.HookPreBackup, task.HookPostBackup},
		set:     [2]string{task.GlobalPreBackupHookSucceeded, task.GlobalPostBackupHookSucceeded},
		session: "--backupsession=" + s.Name, conditions: &s.Status.Conditions}
}

func hooksOfRestores(b *task.RestoreBatch) *batchHooks {
	return &batchHooks{hooks: [2][]task.Hook{session.BeforeRestore(b.Spec.Hooks), session.AfterRestore(b.Spec.Hooks)},
		types:   [2]string{task.HookPreRestore, task.HookPostRestore},
		set:     [2]string{task.GlobalPreRestoreHookSucceeded, task.GlobalPostRestoreHookSucceeded},
		session: "--restorebatch=" + b.Name, conditions: &b.Status.Conditions}
}

// runAll is run, with the hooks of the batch before and after. It reports whether nothing is left to do.
func (o *Operator) runAll(ctx context.Context, order task.ExecutionOrder, members []*member, skip func(i int), h *batchHooks) (over bool, err error) {
	ok, done, err := o.batchHook(ctx, members, h, 0)
	if err != nil || !done {
		return false, err
	}
	if ok {
		err = o.run(ctx, order, members, skip)
	} else {
		for i, m := range members {
			skip(i)
			m.settled = true
		}
	}
	if err != nil || !allSettled(members) {
		return false, err
	}
	_, done, err = o.batchHook(ctx, members, h, 1)
	return done, err
}

// batchHook runs the hooks before (0) or after (1) a batch, in a Job, and reports whether they are done, and went well.
func (o *Operator) batchHook(ctx context.Context, members []*member, h *batchHooks, when int) (ok, done bool, err error) {
	if h == nil || len(h.hooks[when]) == 0 || len(members) == 0 {
		return true, true, nil
	}
	if c := task.FindCondition(*h.conditions, h.set[when]); c != nil {
		return c.Status == metav1.ConditionTrue, true, nil
	}
	first := members[0]
	end := func(ok bool, message string) (bool, bool, error) {
		reason := map[bool]string{true: "SuccessfullyExecutedHook", false: "FailedToExecuteHook"}[ok]
		task.SetCondition(h.conditions, h.set[when], ok, reason, message, o.now())
		return ok, true, nil
	}
	name := shorten(fmt.Sprintf("stash-%s-%s", []string{"before", "after"}[when], first.in.Session.GetName()), 63)
	var job batchv1.Job
	found, err := o.get(ctx, first.in.Session.GetNamespace(), name, &job)
	if err != nil {
		return false, false, err
	}
	if !found {
		like, _, err := o.prepare(ctx, first)
		switch {
		case kube.Unanswered(err):
			return false, false, err
		case err != nil:
			return end(false, oneLine(err.Error()))
		}
		err = o.ensureJob(ctx, &member{in: first.in, target: first.target}, o.batchHookJob(like, name, h, when, members), nil)
		if denied(err) {
			return end(false, oneLine(err.Error()))
		}
		return false, false, err
	}
	over, failed := ended(&job)
	if !over {
		return false, false, nil
	}
	if !failed {
		return end(true, "The hooks have been executed.")
	}
	pod, err := o.podOf(ctx, &job)
	if err != nil {
		return false, false, err
	}
	_, why := reason(&job, pod)
	return end(false, why)
}

// batchHookJob is a Job of the first member's pod with nothing but the hooks.
func (o *Operator) batchHookJob(like *batchv1.Job, name string, h *batchHooks, when int, members []*member) *batchv1.Job {
	pod := &like.Spec.Template.Spec
	c := pod.Containers[len(pod.Containers)-1]
	c.Name, c.Image, c.Command = postHook, o.Config.Image, []string{o.program(), "run"}
	c.Args = []string{task.HookFunction, "--batch", "--hook-type=" + h.types[when], "--namespace=" + like.Namespace, h.session}
	pod.Containers = []corev1.Container{c}
	job := hookJob(like, name)
	bad := slices.ContainsFunc(members, func(m *member) bool { return m.phase() != task.SessionSucceeded })
	if when == 1 && bad {
		hook := &job.Spec.Template.Spec.Containers[0]
		hook.Args = append(hook.Args, "--failed")
	}
	return job
}
