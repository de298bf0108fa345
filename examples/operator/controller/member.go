package controller

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

// member is one target of a session, and how far it is in the session's status.
type member struct {
	in task.Invocation
	// phase of the target; begin, succeed and fail change it.
	phase          func() task.SessionPhase
	begin, succeed func()
	fail           func(message string)
	// conditions are those of the target, whole those of the session.
	conditions, whole *[]task.Condition
	// ensured are the conditions that tell of the Job, hooked those of the hooks before and after.
	ensured []string
	hooked  [2]string
	// execs is set if one of the hooks runs commands in the target.
	execs bool
	// target is the namespace of the target, once the Task is resolved.
	target string
	// settled: nothing of it runs any more, nor will.
	settled bool
}

// names of the containers that task.Resolve gives hooks.
const (
	preHook  = "pre-hook"
	postHook = "post-hook"
)

func execs(before, after []task.Hook) bool {
	return slices.ContainsFunc(append(slices.Clone(before), after...), func(h task.Hook) bool { return h.Exec != nil })
}

// now sets a condition of the target.
func (m *member) set(o *Operator, kind string, ok bool, reason, message string) {
	task.SetCondition(m.conditions, kind, ok, reason, message, o.now())
}

// start sees to the Job of a member. What cannot work fails the member; an error is something that may work later.
func (o *Operator) start(ctx context.Context, m *member) error {
	job, claim, err := o.prepare(ctx, m)
	if kube.Unanswered(err) {
		return err
	}
	if err == nil {
		if err = o.ensureJob(ctx, m, job, claim); err != nil && !denied(err) {
			return err
		}
	}
	if err != nil {
		for _, kind := range m.ensured {
			m.set(o, kind, false, "FailedToEnsure"+strings.TrimSuffix(kind, "Ensured"), oneLine(err.Error()))
		}
		m.fail(oneLine(err.Error()))
		return nil
	}
	o.ensured(m)
	m.begin()
	return nil
}

func (o *Operator) ensured(m *member) {
	for _, kind := range m.ensured {
		m.set(o, kind, true, "SuccessfullyEnsured"+strings.TrimSuffix(kind, "Ensured"), "The Job "+m.in.JobName()+" is there.")
	}
}

// prepare resolves the Task of a member.
func (o *Operator) prepare(ctx context.Context, m *member) (*batchv1.Job, *corev1.PersistentVolumeClaim, error) {
	in := m.in
	switch {
	case in.Repository == nil:
		return nil, nil, fmt.Errorf("there is no Repository for %v any more", in.Session)
	case in.AppBinding == nil:
		return nil, nil, fmt.Errorf("target %d of %v is not there any more", in.Member, in.Session)
	}
	in.AddonImage, in.Pushgateway, in.EphemeralVolume, in.ServiceAccount = o.Config.Image, o.Config.Pushgateway, o.Config.EphemeralVolumes, o.runnerAccount()
	plan, err := task.Resolve(ctx, &kube.Lookup{Client: o.Client}, in)
	if err != nil {
		return nil, nil, err
	}
	job, err := plan.Job()
	if err != nil {
		return nil, nil, err
	}
	claim, err := plan.Claim()
	if err != nil {
		return nil, nil, err
	}
	m.target = plan.Target().Namespace
	pod := &job.Spec.Template.Spec
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			if c := &containers[i]; len(c.Command) == 0 && c.Image == o.Config.Image {
				c.Command = []string{o.program(), "run"}
			}
		}
	}
	return job, claim, nil
}

func (o *Operator) runnerAccount() string { return cmp.Or(o.Config.RunnerAccount, RunnerRole) }

// ensureJob makes what is not there yet.
func (o *Operator) ensureJob(ctx context.Context, m *member, job *batchv1.Job, claim *corev1.PersistentVolumeClaim) error {
	session := m.in.Session
	ns, account := session.GetNamespace(), job.Spec.Template.Spec.ServiceAccountName
	if err := o.access(ctx, RunnerRole, ns, account, account == o.runnerAccount(), ns, m.in.Repository.Namespace, m.target); err != nil {
		return err
	}
	if m.execs {
		if err := o.access(ctx, ExecRole, ns, account, false, m.target); err != nil {
			return err
		}
	}
	if claim != nil {
		if err := o.create(ctx, claim, session); err != nil {
			return fmt.Errorf("interim volume: %w", err)
		}
	}
	if err := o.create(ctx, job, session); err != nil {
		return fmt.Errorf("job: %w", err)
	}
	return nil
}

// look sees how the Job of a member that has begun is, and settles the member if it can be.
func (o *Operator) look(ctx context.Context, m *member) error {
	ns, name := m.in.Session.GetNamespace(), m.in.JobName()
	var job batchv1.Job
	found, err := o.get(ctx, ns, name, &job)
	if err != nil {
		return err
	}
	if !found || !metav1.IsControlledBy(&job, m.in.Session) || !job.DeletionTimestamp.IsZero() {
		if !m.phase().Final() {
			message := fmt.Sprintf("The Job %s is gone before its end.", name)
			task.SetCondition(m.whole, task.BackupDisrupted, true, task.BackupDisrupted, message, o.now())
			m.fail(message)
		}
		m.settled = true
		return nil
	}
	if task.FindCondition(*m.conditions, m.ensured[0]) == nil {
		// It ran before that was stored.
		o.ensured(m)
	}
	over, failed := ended(&job)
	if !over {
		return nil
	}
	pod, err := o.podOf(ctx, &job)
	if err != nil {
		return err
	}
	where, why := reason(&job, pod)
	o.hookConditions(m, pod)
	if !failed && !m.phase().Final() {
		m.succeed()
	}
	if failed && m.phase() == task.SessionSucceeded && where == task.StatusFunction {
		// The status was stored: what failed was to push metrics.
		task.SetCondition(m.whole, task.RepositoryMetricsPushed, false, "FailedToPushMetrics", why, o.now())
	}
	if failed && !m.phase().Final() {
		// Stored before the hooks run that tell of it.
		m.fail(why)
		if hasHook(&job) {
			return nil
		}
	}
	if failed && hasHook(&job) && !ran(pod, postHook) {
		done, err := o.hookAfterFailure(ctx, m, &job)
		m.settled = done
		return err
	}
	m.settled = true
	return nil
}

// ended reports whether the Job is over.
func ended(job *batchv1.Job) (over, failed bool) {
	for _, c := range job.Status.Conditions {
		if c.Status == corev1.ConditionTrue {
			switch c.Type {
			case batchv1.JobComplete:
				return true, false
			case batchv1.JobFailed:
				return true, true
			}
		}
	}
	return false, false
}

// podOf is the newest pod of the Job; nil if there is none any more.
func (o *Operator) podOf(ctx context.Context, job *batchv1.Job) (*corev1.Pod, error) {
	var pods corev1.PodList
	if err := o.Client.List(ctx, &pods, client.InNamespace(job.Namespace), client.MatchingLabels{batchv1.JobNameLabel: job.Name}); err != nil {
		return nil, fmt.Errorf("pods of job %s/%s: %w", job.Namespace, job.Name, err)
	}
	var newest *corev1.Pod
	for i := range pods.Items {
		p := &pods.Items[i]
		if metav1.IsControlledBy(p, job) && (newest == nil || newest.CreationTimestamp.Before(&p.CreationTimestamp)) {
			newest = p
		}
	}
	return newest, nil
}

func terminated(pod *corev1.Pod) map[string]*corev1.ContainerStateTerminated {
	out := map[string]*corev1.ContainerStateTerminated{}
	if pod == nil {
		return out
	}
	for _, s := range append(slices.Clone(pod.Status.InitContainerStatuses), pod.Status.ContainerStatuses...) {
		if s.State.Terminated != nil {
			out[s.Name] = s.State.Terminated
		}
	}
	return out
}

func ran(pod *corev1.Pod, container string) bool { return terminated(pod)[container] != nil }

// reason says which container failed, and why: what a command prints last.
func reason(job *batchv1.Job, pod *corev1.Pod) (container, why string) {
	states := terminated(pod)
	if pod != nil {
		for _, c := range append(slices.Clone(pod.Spec.InitContainers), pod.Spec.Containers...) {
			t := states[c.Name]
			if t == nil || t.ExitCode == 0 {
				continue
			}
			lines := strings.Split(strings.TrimSpace(t.Message), "\n")
			why := fmt.Sprintf("container %s: exit code %d", c.Name, t.ExitCode)
			if t.Reason != "" && t.Reason != "Error" {
				why += ", " + t.Reason
			}
			if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
				why += ": " + last
			}
			return c.Name, why
		}
		if pod.Status.Reason != "" {
			return "", fmt.Sprintf("the pod failed: %s: %s", pod.Status.Reason, pod.Status.Message)
		}
	}
	for _, c := range job.Status.Conditions {
		if c.Type == batchv1.JobFailed && c.Status == corev1.ConditionTrue {
			return "", fmt.Sprintf("the Job failed: %s: %s", c.Reason, c.Message)
		}
	}
	return "", ""
}

func hasHook(job *batchv1.Job) bool {
	return slices.ContainsFunc(job.Spec.Template.Spec.Containers, func(c corev1.Container) bool { return c.Name == postHook })
}

// hookConditions tell what became of hooks that ran.
func (o *Operator) hookConditions(m *member, pod *corev1.Pod) {
	states := terminated(pod)
	for i, name := range []string{preHook, postHook} {
		t := states[name]
		if t == nil || m.hooked[i] == "" {
			continue
		}
		which := []string{"PreHook", "PostHook"}[i]
		if t.ExitCode == 0 {
			m.set(o, m.hooked[i], true, "SuccessfullyExecuted"+which, "The hooks have been executed.")
		} else {
			lines := strings.Split(strings.TrimSpace(t.Message), "\n")
			m.set(o, m.hooked[i], false, "FailedToExecute"+which, fmt.Sprintf("exit code %d: %s", t.ExitCode, strings.TrimSpace(lines[len(lines)-1])))
		}
	}
}

const componentHook = "stash-hook"

func hookJobName(job string) string { return shorten(job+"-hook", 63) }

// hookAfterFailure runs the hooks afterwards of a Job that did not come to them, in a Job of their own, and reports whether they are done.
func (o *Operator) hookAfterFailure(ctx context.Context, m *member, job *batchv1.Job) (done bool, err error) {
	var hook batchv1.Job
	found, err := o.get(ctx, job.Namespace, hookJobName(job.Name), &hook)
	if err != nil {
		return false, err
	}
	if !found {
		hooks := hookJob(job, hookJobName(job.Name))
		c := &hooks.Spec.Template.Spec.Containers[0]
		c.Args = append(c.Args, "--failed")
		err := o.create(ctx, hooks, m.in.Session)
		if denied(err) {
			m.set(o, m.hooked[1], false, "FailedToExecutePostHook", oneLine(err.Error()))
			return true, nil
		}
		return false, err
	}
	over, failed := ended(&hook)
	if !over {
		return false, nil
	}
	pod, err := o.podOf(ctx, &hook)
	if err != nil {
		return false, err
	}
	o.hookConditions(m, pod)
	if failed && !ran(pod, postHook) {
		_, why := reason(&hook, pod)
		m.set(o, m.hooked[1], false, "FailedToExecutePostHook", why)
	}
	return true, nil
}

// hookJob is a Job with nothing but the hooks afterwards of another one. Volumes of the session it does not need.
func hookJob(job *batchv1.Job, name string) *batchv1.Job {
	h := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: name, Labels: map[string]string{},
		OwnerReferences: slices.Clone(job.OwnerReferences)}}
	for _, k := range []string{task.LabelManagedBy, task.LabelInvokerKind, task.LabelInvokerName, task.LabelSession} {
		h.Labels[k] = job.Labels[k]
	}
	h.Labels[task.LabelComponent] = componentHook
	h.Spec.BackoffLimit = job.Spec.BackoffLimit
	h.Spec.Template.Spec = *job.Spec.Template.Spec.DeepCopy()
	pod := &h.Spec.Template.Spec
	h.Spec.Template.Labels = h.Labels
	pod.InitContainers = nil
	pod.Containers = slices.DeleteFunc(pod.Containers, func(c corev1.Container) bool { return c.Name != postHook })
	claims := map[string]bool{}
	pod.Volumes = slices.DeleteFunc(pod.Volumes, func(v corev1.Volume) bool {
		claims[v.Name] = v.PersistentVolumeClaim != nil || v.Ephemeral != nil
		return claims[v.Name]
	})
	for i := range pod.Containers {
		c := &pod.Containers[i]
		c.VolumeMounts = slices.DeleteFunc(c.VolumeMounts, func(v corev1.VolumeMount) bool { return claims[v.Name] })
	}
	return h
}

// run does what is next for the members: it looks at those that have begun, and starts those whose turn it is. skip ends those whose turn will never
// come.
func (o *Operator) run(ctx context.Context, order task.ExecutionOrder, members []*member, skip func(i int)) error {
	phases := make([]task.SessionPhase, len(members))
	begun := func(p task.SessionPhase) bool { return p != "" && p != task.SessionPending }
	for i, m := range members {
		// Those that were skipped, and those whose Job could not be made, have nothing that runs.
		switch p := m.phase(); {
		case p == task.SessionSkipped, p == task.SessionFailed && task.IsFalse(*m.conditions, m.ensured[0]):
			m.settled = true
		case begun(p):
			if err := o.look(ctx, m); err != nil {
				return err
			}
		}
		if phases[i] = m.phase(); begun(phases[i]) && !m.settled {
			phases[i] = task.SessionRunning
		}
	}
	start, stop := session.Next(order, phases)
	for _, i := range start {
		if err := o.start(ctx, members[i]); err != nil {
			return err
		}
		members[i].settled = members[i].phase().Final()
	}
	if stop {
		for i, p := range phases {
			if !begun(p) {
				skip(i)
				members[i].settled = true
			}
		}
	}
	return nil
}

func allSettled(members []*member) bool {
	return !slices.ContainsFunc(members, func(m *member) bool { return !m.settled })
}

// late runs the hooks that tell of failures of members whose time is up.
func (o *Operator) late(ctx context.Context, members []*member, h *batchHooks) error {
	for _, m := range members {
		var job batchv1.Job
		found, err := o.get(ctx, m.in.Session.GetNamespace(), m.in.JobName(), &job)
		if err != nil {
			return err
		}
		if over, _ := ended(&job); !found || over || !hasHook(&job) || !metav1.IsControlledBy(&job, m.in.Session) {
			continue
		}
		if _, err := o.hookAfterFailure(ctx, m, &job); err != nil {
			return err
		}
	}
	_, _, err := o.batchHook(ctx, members, h, 1)
	return err
}

func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
