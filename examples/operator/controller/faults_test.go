package controller_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/escrow-backup/escrow/task"
)

// Everything that the operator asks of the API fails once, at each place, in each way; and each time another operator goes on, which knows nothing. What
// comes of it is always the same.
func TestEveryCallMayFail(t *testing.T) {
	crash := errors.New("the operator has died")
	conflict := apierrors.NewConflict(schema.GroupResource{Resource: "things"}, "x", errors.New("somebody was faster"))
	for name, prepare := range map[string]func(t *testing.T) *world{
		"backup": func(t *testing.T) *world {
			c := configuration(t, "")
			w := newWorld(t, append(needs(t), c)...)
			w.trigger(read(w, c))
			return w
		},
		"failure with a retry": func(t *testing.T) *world {
			c := configuration(t, "  retryConfig: {maxRetry: 1, delay: 1s}\n  backupHistoryLimit: 5\n  hooks: {postBackup: {exec: {command: [x]}}}\n")
			w := newWorld(t, append(needs(t), c)...)
			w.pod = func(j *batchv1.Job) outcome {
				first := fmt.Sprintf("nightly-%d", began.Unix())
				if strings.HasSuffix(j.Name, "-hook") || j.Labels[task.LabelSession] != first {
					return outcome{}
				}
				return outcome{failed: "elasticsearch-backup", message: "no"}
			}
			w.trigger(read(w, c))
			return w
		},
		"batch": func(t *testing.T) *world {
			b := parse[*task.BackupBatch](t, fmt.Sprintf(members, task.Sequential)+"  hooks: {preBackup: {tcpSocket: {host: h, port: 1}}}\n")
			w := newWorld(t, append(needs(t), binding(t, "es2"), b)...)
			w.trigger(b)
			return w
		},
		"restore": func(t *testing.T) *world {
			return newWorld(t, append(needs(t), restoring(t, "  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}\n"))...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const rounds = 16
			w := prepare(t)
			w.live(rounds)
			want, calls := w.summary(), w.calls
			writes := func(call string) bool { return !strings.HasPrefix(call, "get ") && !strings.HasPrefix(call, "list ") }
			for !writes(calls[len(calls)-1]) {
				calls = calls[:len(calls)-1] // the end has been reached
			}
			for _, way := range []struct {
				name  string
				after bool
				err   error
			}{{"before", false, crash}, {"afterwards", true, crash}, {"conflict", false, conflict}} {
				n := 0
				for at, next := range calls {
					reads := way.name == "before" && (name == "backup" || name == "restore")
					if !writes(next) && !reads || way.err == conflict && !strings.HasPrefix(next, "update ") {
						continue // as what comes before it
					}
					w := prepare(t)
					failed := ""
					w.fault = func(call string, after bool) error {
						if len(w.calls) == at+1 && after == way.after {
							failed = call
							return way.err
						}
						return nil
					}
					for range rounds {
						_, errs := w.round()
						for _, err := range errs {
							require.ErrorIs(t, err, crash, "call %d", at)
						}
						if failed != "" {
							w.restart()
						}
						w.kubelet()
						w.collect()
						w.now = w.now.Add(time.Second)
					}
					require.Equal(t, next, failed)
					n++
					w.live(4)
					require.Equal(t, want, w.summary(), "%s: call %d of %d: %s", way.name, at, len(calls), failed)
				}
				require.Greater(t, n, 3)
			}
		})
	}
}

// summary is what there is, without times.
func (w *world) summary() string {
	var out []string
	for _, s := range w.sessions() {
		line := fmt.Sprintf("session %s", s.Status.Phase)
		for _, t := range s.Status.Targets {
			line += fmt.Sprintf(" %s %v", t.Phase, kinds(t.Conditions))
			for _, h := range t.Stats {
				line += fmt.Sprintf(" %s %s %q", h.Hostname, h.Phase, h.Error)
			}
		}
		out = append(out, line+fmt.Sprint(kinds(s.Status.Conditions)))
	}
	l := new(task.RestoreSessionList)
	for _, s := range list(w, l, func() []*task.RestoreSession { return pointers(l.Items) }) {
		out = append(out, fmt.Sprintf("restore %s %v %+v", s.Status.Phase, kinds(s.Status.Conditions), s.Status.Stats))
	}
	jobs := map[string]int{}
	for _, j := range w.jobs() {
		name, _, _ := strings.Cut(j.Name, "-1710")
		if strings.HasSuffix(j.Name, "-hook") {
			name += "-hook"
		}
		jobs[fmt.Sprintf("%s %v", name, len(j.Status.Conditions))]++
	}
	out = append(out, fmt.Sprint("jobs ", jobs), fmt.Sprint("claims ", len(w.claims())), fmt.Sprint("crons ", len(w.crons())))
	for _, s := range w.sink.Samples() {
		out = append(out, fmt.Sprint(s.Metric.Name, s.Labels))
	}
	return strings.Join(out, "\n")
}

func kinds(conditions []task.Condition) []string {
	var out []string
	for _, c := range conditions {
		out = append(out, fmt.Sprintf("%s=%s", c.Type, c.Status))
	}
	return out
}
