package session_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRunHook(t *testing.T) {
	store := task.NewMemoryStore(nil,
		parse[*task.BackupSession](t, "kind: BackupSession\nmetadata: {name: s, namespace: demo}\nspec: {invoker: {kind: BackupBatch, name: all}}"),
		parse[*task.BackupBatch](t, `
kind: BackupBatch
metadata: {name: all, namespace: demo}
spec:
  repository: {name: store}
  members:
  - {target: {alias: a, ref: {kind: AppBinding, name: a}}, hooks: {preBackup: {exec: {command: ["a {{ .Target.Name }}"]}}}}
  - {target: {alias: b, ref: {kind: AppBinding, name: b}}, hooks: {preBackup: {exec: {command: ["b {{ .Target.Name }} {{ .Status.Phase }}"]}}, postBackup: {executionPolicy: OnFailure, exec: {command: [never]}}}}
`),
		parse[*task.RestoreSession](t, `
kind: RestoreSession
metadata: {name: r, namespace: demo}
spec: {repository: {name: store}, target: {ref: {kind: AppBinding, name: a}}, hooks: {after: [{exec: {command: ["after {{ .Invoker.Name }} {{ .Status.Phase }}"]}}]}}
`))
	var ran []string
	var fail error
	h := &session.Hooks{Exec: func(_ context.Context, _ task.TargetRef, _ string, command []string) error {
		ran = append(ran, strings.Join(command, " "))
		return fail
	}}
	call := func(args ...string) error {
		return h.RunHook(t.Context(), store, append([]string{"--namespace=demo"}, args...))
	}
	require.NoError(t, call("--hook-type=preBackup", "--backupsession=s", "--restoresession=", "--hostname=b"))
	require.NoError(t, call("--hook-type=postBackup", "--backupsession=s", "--hostname=b"))
	require.NoError(t, call("--hook-type=postRestore", "--restoresession=r", "--hostname=host-0"))
	require.Equal(t, []string{"b b Running", "after r Succeeded"}, ran)
	fail = errors.New("not now")
	require.ErrorIs(t, call("--hook-type=preBackup", "--backupsession=s", "--hostname=a"), fail)
	require.ErrorContains(t, call("--hook-type=preBackup", "--backupsession=s", "--hostname=c"), `no member with the alias "c"`)
	require.ErrorIs(t, call("--hook-type=preBackup", "--backupsession=none"), fs.ErrNotExist)
	require.ErrorIs(t, call("--hook-type=midBackup", "--backupsession=s", "--hostname=a"), fs.ErrInvalid)
	require.ErrorIs(t, call("--hook-type=preBackup"), fs.ErrInvalid)
	require.ErrorIs(t, call("--nonsense"), fs.ErrInvalid)
}
