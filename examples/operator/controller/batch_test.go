package controller_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"

	"github.com/escrow-backup/escrow/task"
)

const members = `
kind: BackupBatch
metadata: {name: all, namespace: demo}
spec:
  schedule: "@daily"
  repository: {name: store}
  executionOrder: %s
  members:
  - {task: {name: elasticsearch-backup}, target: {alias: one, ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}}
  - {task: {name: elasticsearch-backup}, target: {alias: two, ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es2}}}
`

func TestBatches(t *testing.T) {
	prepare := func(t *testing.T, order task.ExecutionOrder) (*world, *task.BackupBatch) {
		b := parse[*task.BackupBatch](t, fmt.Sprintf(members, order))
		w := newWorld(t, append(needs(t), binding(t, "es2"), b)...)
		w.live(2)
		require.Equal(t, task.InvokerReady, read(w, b).Status.Phase)
		require.Equal(t, "stash-trigger-batch-all", w.crons()[0].Name)
		return w, b
	}
	t.Run("parallel, one fails", func(t *testing.T) {
		w, b := prepare(t, task.Parallel)
		w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
		s := w.trigger(b)
		w.live(3)
		require.Len(t, w.jobs(), 2)
		w.pod = func(j *batchv1.Job) outcome {
			if strings.HasSuffix(j.Name, "-0") {
				return outcome{failed: "elasticsearch-backup", message: "no"}
			}
			return outcome{}
		}
		w.live(4)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		require.Equal(t, task.SessionFailed, s.Status.Targets[0].Phase)
		require.Equal(t, "one", s.Status.Targets[0].Stats[0].Hostname)
		require.Equal(t, task.SessionSucceeded, s.Status.Targets[1].Phase)
	})
	t.Run("sequential", func(t *testing.T) {
		w, b := prepare(t, task.Sequential)
		w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
		s := w.trigger(b)
		w.live(3)
		require.Len(t, w.jobs(), 1, "one after the other")
		w.pod = nil
		w.live(6)
		require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
		require.Len(t, w.jobs(), 2)
	})
	t.Run("sequential, the first fails", func(t *testing.T) {
		w, b := prepare(t, task.Sequential)
		w.pod = func(*batchv1.Job) outcome { return outcome{failed: "elasticsearch-backup", message: "no"} }
		s := w.trigger(b)
		w.live(6)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		require.Equal(t, task.SessionSkipped, s.Status.Targets[1].Phase)
		require.Len(t, w.jobs(), 1)
	})
}
