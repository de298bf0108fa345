package controller_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/task"
)

func TestHooksOfAJob(t *testing.T) {
	const hooks = `
  hooks:
    preBackup: {tcpSocket: {port: 9200}}
    postBackup: {exec: {command: [sync]}}
`
	prepare := func(t *testing.T) (*world, *task.BackupConfiguration) {
		c := configuration(t, hooks)
		w := newWorld(t, append(needs(t), c)...)
		w.live(1)
		return w, read(w, c)
	}
	t.Run("both succeed", func(t *testing.T) {
		w, c := prepare(t)
		s := w.trigger(c)
		w.live(4)
		require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
		isTrue(t, s.Status.Targets[0].Conditions, task.PreBackupHookExecutionSucceeded)
		isTrue(t, s.Status.Targets[0].Conditions, task.PostBackupHookExecutionSucceeded)
		var b rbacv1.RoleBinding
		require.NoError(t, w.api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "escrow-runner-exec-demo-escrow-runner"}, &b))
	})
	t.Run("the one before fails", func(t *testing.T) {
		w, c := prepare(t)
		w.pod = func(j *batchv1.Job) outcome {
			if strings.HasSuffix(j.Name, "-hook") {
				return outcome{}
			}
			return outcome{failed: "pre-hook", message: "operator: hook preBackup: refused"}
		}
		s := w.trigger(c)
		w.live(6)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isFalse(t, s.Status.Targets[0].Conditions, task.PreBackupHookExecutionSucceeded)
		isTrue(t, s.Status.Targets[0].Conditions, task.PostBackupHookExecutionSucceeded)
	})
	t.Run("the one afterwards fails", func(t *testing.T) {
		w, c := prepare(t)
		w.pod = func(*batchv1.Job) outcome {
			return outcome{failed: "post-hook", message: "operator: hook postBackup: refused"}
		}
		s := w.trigger(c)
		w.live(6)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase, "though the backup succeeded")
		require.Equal(t, task.SessionSucceeded, s.Status.Targets[0].Phase)
		isFalse(t, s.Status.Targets[0].Conditions, task.PostBackupHookExecutionSucceeded)
		require.Contains(t, task.FindCondition(s.Status.Targets[0].Conditions, task.PostBackupHookExecutionSucceeded).Message, "refused")
	})
	t.Run("afterwards, of a failure", func(t *testing.T) {
		w, c := prepare(t)
		w.pod = func(j *batchv1.Job) outcome {
			if strings.HasSuffix(j.Name, "-hook") {
				return outcome{running: true}
			}
			return outcome{failed: "elasticsearch-backup", message: "operator: no"}
		}
		s := w.trigger(c)
		w.live(4)
		require.Len(t, w.jobs(), 2)
		require.Equal(t, task.SessionRunning, read(w, s).Status.Phase, "until its hooks are done")
		for _, j := range w.jobs() {
			if strings.HasSuffix(j.Name, "-hook") {
				pod := j.Spec.Template.Spec
				require.Empty(t, pod.InitContainers)
				require.Contains(t, pod.Containers[0].Args, "--failed")
				require.Contains(t, pod.Containers[0].Args, "--hook-type=postBackup")
				for _, v := range pod.Volumes {
					require.Nil(t, v.PersistentVolumeClaim)
				}
			}
		}
		w.pod = nil
		w.live(3)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isTrue(t, s.Status.Targets[0].Conditions, task.PostBackupHookExecutionSucceeded)
	})
	t.Run("afterwards, of a timeout", func(t *testing.T) {
		c := configuration(t, hooks+"  timeOut: 10m\n")
		w := newWorld(t, append(needs(t), c)...)
		w.live(1)
		w.pod = func(j *batchv1.Job) outcome { return outcome{running: !strings.HasSuffix(j.Name, "-hook")} }
		s := w.trigger(read(w, c))
		w.live(3)
		w.now = read(w, s).Status.SessionDeadline.Time
		w.live(3)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		require.Len(t, w.jobs(), 1)
		require.True(t, strings.HasSuffix(w.jobs()[0].Name, "-hook"))
	})
}

func TestHooksOfABatch(t *testing.T) {
	prepare := func(t *testing.T) (*world, *task.BackupSession) {
		b := parse[*task.BackupBatch](t, fmt.Sprintf(members, task.Parallel)+"  hooks: {preBackup: {tcpSocket: {host: h, port: 1}}, postBackup: {tcpSocket: {host: h, port: 2}}}\n")
		w := newWorld(t, append(needs(t), binding(t, "es2"), b)...)
		w.live(2)
		return w, w.trigger(b)
	}
	kind := func(j *batchv1.Job) string { return strings.Split(j.Name, "-")[1] }
	t.Run("around all", func(t *testing.T) {
		w, s := prepare(t)
		var order []string
		w.pod = func(j *batchv1.Job) outcome {
			order = append(order, kind(j))
			if kind(j) == "after" {
				require.Equal(t, []string{"run-hook", "--batch", "--hook-type=postBackup", "--namespace=demo", "--backupsession=" + s.Name},
					j.Spec.Template.Spec.Containers[0].Args)
			}
			return outcome{}
		}
		w.live(8)
		require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
		require.Equal(t, []string{"before", "backup", "backup", "after"}, order)
		isTrue(t, s.Status.Conditions, task.GlobalPreBackupHookSucceeded)
		isTrue(t, s.Status.Conditions, task.GlobalPostBackupHookSucceeded)
	})
	t.Run("before fails", func(t *testing.T) {
		w, s := prepare(t)
		w.pod = func(j *batchv1.Job) outcome {
			if kind(j) == "before" {
				return outcome{failed: "post-hook", message: "operator: hook preBackup: refused"}
			}
			require.Contains(t, j.Spec.Template.Spec.Containers[0].Args, "--failed")
			return outcome{}
		}
		w.live(8)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isFalse(t, s.Status.Conditions, task.GlobalPreBackupHookSucceeded)
		isTrue(t, s.Status.Conditions, task.GlobalPostBackupHookSucceeded)
		require.Equal(t, task.SessionSkipped, s.Status.Targets[0].Phase)
		require.Len(t, w.jobs(), 2)
	})
	t.Run("one member fails", func(t *testing.T) {
		w, s := prepare(t)
		w.pod = func(j *batchv1.Job) outcome {
			if strings.HasSuffix(j.Name, "-1") {
				return outcome{failed: "elasticsearch-backup", message: "no"}
			}
			require.Equal(t, kind(j) == "after", strings.Contains(fmt.Sprint(j.Spec.Template.Spec.Containers[0].Args), "--failed"))
			return outcome{}
		}
		w.live(8)
		require.Equal(t, task.SessionFailed, read(w, s).Status.Phase)
		isTrue(t, s.Status.Conditions, task.GlobalPostBackupHookSucceeded)
	})
}
