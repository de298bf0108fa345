package flow_test

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/task"
)

// never is a schedule that no test lives to see.
const never = "0 0 29 2 *"

// testKilled kills the operator when a backup has come to each of its steps. The next operator goes on: one session, one Job, one snapshot.
func testKilled(t *testing.T, w *world) {
	const session = "by-hand"
	for _, step := range []struct {
		name string
		// kill brings a backup that has been asked for to the step, kills the operator, and lets the next one come.
		kill func(t *testing.T, p *place)
	}{
		{"SessionRuns", func(t *testing.T, p *place) {
			p.eventually(t, "the session is seen", func(ctx context.Context) (bool, error) {
				s := new(task.BackupSession)
				err := p.Get(ctx, client.ObjectKey{Namespace: p.ns, Name: session}, s)
				return s.Status.Phase != "", err
			})
			p.kill(t)
			p.gate.lift()
		}},
		{"JobMade", func(t *testing.T, p *place) {
			p.eventually(t, "the Job is there", func(context.Context) (bool, error) { return len(p.made()) > 0, nil })
			p.kill(t)
			p.gate.lift()
		}},
		{"JobRuns", func(t *testing.T, p *place) {
			p.works(t)
			p.kill(t)
			p.gate.lift()
		}},
		{"JobDone", func(t *testing.T, p *place) {
			p.works(t)
			p.cordon(t, true)
			p.killed(t)
			p.gate.lift()
			job, log := p.finished(t, client.ObjectKey{Namespace: p.ns, Name: p.made()[0]})
			require.True(t, condition(job, batchv1.JobComplete), log)
			p.cordon(t, false)
			p.leads(t)
		}},
	} {
		t.Run(step.name, func(t *testing.T) {
			p := w.place(t, "killed-"+regexp.MustCompile("[A-Z]").ReplaceAllStringFunc(step.name, func(s string) string { return string(s[0] + 'a' - 'A') }))
			p.create(t, p.all()...)
			p.becomes(t, task.InvokerReady)
			p.gate.shut()
			p.instant(t, session)
			step.kill(t, p)
			p.succeeded(t, session)
			require.Len(t, p.made(), 1)
			p.holds(t, 1)
			p.end(t)
		})
	}
}

// testKilledAfterCronJob kills the operator as soon as it has made the CronJob of a configuration.
func testKilledAfterCronJob(t *testing.T, w *world) {
	p := w.place(t, "killed-cronjob")
	p.conf.Spec.Schedule = never
	p.create(t, p.all()...)
	var crons batchv1.CronJobList
	p.eventually(t, "the CronJob is there", func(ctx context.Context) (bool, error) {
		err := p.List(ctx, &crons, client.InNamespace(p.ns))
		return len(crons.Items) > 0, err
	})
	p.kill(t)
	p.scheduled(t)
	uid := crons.Items[0].UID
	require.NoError(t, p.List(t.Context(), &crons, client.InNamespace(p.ns)))
	require.Len(t, crons.Items, 1)
	require.Equal(t, uid, crons.Items[0].UID)
	p.instant(t, "by-hand")
	p.succeeded(t, "by-hand")
	require.Len(t, p.made(), 1)
	p.holds(t, 1)
	p.end(t)
}

// scheduled waits until the CronJob is there and the status says so.
func (p *place) scheduled(t *testing.T) {
	t.Helper()
	p.eventually(t, "the CronJob is in the status", func(ctx context.Context) (bool, error) {
		err := p.Get(ctx, client.ObjectKeyFromObject(p.conf), p.conf)
		return task.IsTrue(p.conf.Status.Conditions, task.CronJobCreated), err
	})
}

// succeeded waits for the end of a session, which is a good one.
func (p *place) succeeded(t *testing.T, name string) {
	t.Helper()
	s := p.ends(t, name)
	require.Equal(t, task.SessionSucceeded, s.Status.Phase, show(s.Status))
	require.Equal(t, map[string]string{
		task.RepositoryMetricsPushed: "True SuccessfullyPushedMetrics",
		task.BackupHistoryCleaned:    "True SuccessfullyCleanedBackupHistory",
	}, conditions(s.Status.Conditions))
	require.Len(t, s.Status.Targets, 1)
	require.Equal(t, map[string]string{
		task.BackupExecutorEnsured:        "True SuccessfullyEnsuredBackupExecutor",
		task.BackendRepositoryInitialized: "True BackendRepositoryInitialized",
		task.RetentionPolicyApplied:       "True SuccessfullyAppliedRetentionPolicy",
		task.RepositoryIntegrityVerified:  "True RepositoryIntegrityVerified",
	}, conditions(s.Status.Targets[0].Conditions))
}

// testConflicts has somebody else write to the objects while a backup goes on, so that what the operator and the Job store is often refused: they know
// an older version. Nothing is lost by that, of either.
func testConflicts(t *testing.T, w *world) {
	p := w.place(t, "conflicts")
	p.create(t, p.all()...)
	p.becomes(t, task.InvokerReady)
	before, writes := w.conflicts(t), 0

	// How often they meet is up to chance.
	var sessions int
	var s *task.BackupSession
	for ; sessions == 0 || sessions < 5 && w.conflicts(t) == before; sessions++ {
		s = p.instant(t, fmt.Sprintf("by-hand-%d", sessions))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- p.touch(ctx, &writes, s, p.conf, p.repository) }()
		p.ends(t, s.Name)
		stop()
		require.NoError(t, <-ended)
		p.succeeded(t, s.Name)
	}
	require.Greater(t, w.conflicts(t), before, "there were conflicts")
	require.Len(t, p.made(), sessions)
	p.holds(t, sessions)
	for _, o := range []client.Object{s, p.conf, p.repository} {
		require.NoError(t, p.Get(t.Context(), client.ObjectKeyFromObject(o), o))
		require.Equal(t, strconv.Itoa(writes), o.GetAnnotations()[touched], "what the other wrote is still there")
	}
	p.end(t)
}

const touched = "example.com/touched"

// touch writes to the objects until ctx ends: many times, then not for twice as long, and so on, so that others are refused often but not always.
func (p *place) touch(ctx context.Context, writes *int, objects ...client.Object) error {
	for ctx.Err() == nil {
		began := time.Now()
		for range 10 {
			*writes++
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata": {"annotations": {%q: "%d"}}}`, touched, *writes))
			for _, o := range objects {
				// Not with ctx: what is counted is written.
				if err := p.Patch(context.WithoutCancel(ctx), o.DeepCopyObject().(client.Object), patch); err != nil {
					return err
				}
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Since(began)):
		}
	}
	return nil
}

// conflicts is how many of the operator's updates were refused so far.
func (w *world) conflicts(t *testing.T) int {
	t.Helper()
	n := 0
	for _, m := range regexp.MustCompile(`(?m)^rest_client_requests_total\{code="409",[^}]*method="PUT"\} (\d+)$`).FindAllStringSubmatch(get(t, w.metrics), -1) {
		count, err := strconv.Atoi(m[1])
		require.NoError(t, err)
		n += count
	}
	return n
}
