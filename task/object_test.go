package task_test

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/task"
	"github.com/escrow-backup/escrow/task/crds"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// prune takes what says nothing out of a JSON document: empty objects, lists and texts, and nulls.
func prune(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if e = prune(e); e == nil || e == "" {
				delete(v, k)
			} else {
				v[k] = e
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = prune(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case bool:
		if !v {
			return nil
		}
	case float64:
		if v == 0 {
			return nil
		}
	}
	return v
}

func document(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	require.NoError(t, yaml.Unmarshal(data, &v))
	out, err := json.MarshalIndent(prune(v), "", " ")
	require.NoError(t, err)
	return string(out)
}

func TestManifestsOfStashAreReadWithoutLoss(t *testing.T) {
	files, err := filepath.Glob("testdata/stash/*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 8)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			data, err := os.ReadFile(file)
			require.NoError(t, err)
			o, err := task.Parse(data)
			require.NoError(t, err)
			out, err := json.Marshal(o)
			require.NoError(t, err)
			require.Equal(t, document(t, data), document(t, out))

			twin := o.DeepCopyObject()
			require.Equal(t, o, twin)

			s := runtime.NewScheme()
			require.NoError(t, task.AddToScheme(s))
			kind := o.GetObjectKind().GroupVersionKind()
			made, err := s.New(kind)
			require.NoError(t, err)
			require.IsType(t, o, made)
			require.True(t, s.Recognizes(schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind + "List"}))
		})
	}
}

func TestUnknownFieldIsReportedAndTheRestReturned(t *testing.T) {
	o, err := task.Parse([]byte(`
apiVersion: stash.appscode.com/v1beta1
kind: Task
metadata: {name: t}
spec:
  steps: [{name: one, image: x}]
`))
	require.True(t, runtime.IsStrictDecodingError(err), "%v", err)
	require.ErrorContains(t, err, "image")
	require.Equal(t, "one", o.(*task.Task).Spec.Steps[0].Name)
}

func TestParseRefuses(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"no kind":     {`metadata: {name: x}`, "no kind"},
		"other kind":  {"kind: Pod", `kind "Pod": want one of`},
		"other group": {"apiVersion: v1\nkind: Task\nmetadata: {name: t}", `wants "stash.appscode.com/v1beta1"`},
		"no YAML":     {"{", "not an object"},
		"embedded":    {"apiVersion: stash.appscode.com/v1beta1\nkind: RestoreSession\nspec: {target: secretvalue}", "parse restoresession: spec.target: is a string"},
		"wrong form":  {"apiVersion: stash.appscode.com/v1beta1\nkind: Task\nspec: {steps: secretvalue}", "spec.steps"},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := task.Parse([]byte(c.in))
			require.Nil(t, o)
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "secretvalue")
		})
	}
}

func TestValidateNamesEveryField(t *testing.T) {
	_, err := task.Parse([]byte(`
apiVersion: stash.appscode.com/v1beta1
kind: BackupConfiguration
metadata: {name: b, namespace: demo}
spec:
  schedule: "99 * * * *"
  driver: Kopia
  timeOut: -1s
  backupHistoryLimit: -1
  retryConfig: {maxRetry: -1, delay: -1s}
  retentionPolicy: {keepLast: -2}
  integrityCheck: {readData: lots}
  task: {params: [{name: a, value: x}, {name: a, value: z}]}
  target: {ref: {kind: AppBinding}}
  interimVolumeTemplate: {spec: {}}
  hooks:
    preBackup: {}
    postBackup: {executionPolicy: Never, httpGet: {port: 0, path: "{{ .Broken"}}
    before: [{exec: {command: []}, tcpSocket: {port: 1}}]
`))
	require.Error(t, err)
	for _, field := range []string{"repository.name", "schedule", "driver", "timeOut", "backupHistoryLimit", "retryConfig.maxRetry",
		"retryConfig.delay", "retentionPolicy.keepLast", "integrityCheck.readData", "task.params[1].name", "target.ref.name",
		"interimVolumeTemplate.spec.accessModes", "interimVolumeTemplate.spec.resources.requests.storage", "hooks.preBackup",
		"hooks.postBackup.executionPolicy", "hooks.postBackup.httpGet.port", "hooks.postBackup", "hooks.before[0].exec.command", "hooks.before[0]"} {
		require.ErrorContains(t, err, "backupconfiguration demo/b: spec."+field+": ")
	}
	require.NotContains(t, err.Error(), "Broken", "a template may hold a token")

	for name, c := range map[string]struct{ in, want string }{
		"session": {"kind: BackupSession\nspec: {invoker: {kind: Pod, name: p}}", "spec.invoker.kind"},
		"restore": {"kind: RestoreSession\nspec: {repository: {name: r}}", "spec.target: is required"},
		"rules": {"kind: RestoreSession\nspec: {repository: {name: r}, target: {ref: {kind: k, name: es}, rules: [{}, {}]}}",
			"spec.target.rules[1].targetHosts"},
		"two hosts": {"kind: RestoreSession\nspec: {repository: {name: r}, target: {ref: {kind: k, name: es}, rules: [{targetHosts: [a]}, {targetHosts: [a]}]}}",
			`spec.target.rules[1].targetHosts: "a" has a rule already`},
		"members": {"kind: BackupBatch\nspec: {repository: {name: r}, members: [{target: {ref: {kind: k, name: a}}}, {target: {ref: {kind: k, name: b}}}]}",
			`spec.members[1].target.alias: "host-0" is that of members[0]`},
		"no members":  {"kind: RestoreBatch\nspec: {repository: {name: r}}", "spec.members: is required"},
		"no steps":    {"kind: Task", "spec.steps: is required"},
		"no backend":  {"kind: BackupBlueprint", "spec.backend: is required"},
		"mounts":      {"kind: Function\nspec: {volumeMounts: [{name: v}]}", "spec.volumeMounts[0].mountPath"},
		"no name":     {"kind: Function", "metadata.name: is required"},
		"other order": {"kind: BackupBatch\nspec: {executionOrder: Random}", "spec.executionOrder"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + c.in))
			require.ErrorContains(t, err, c.want)
		})
	}
}

func TestDefinitions(t *testing.T) {
	files, err := fs.Glob(crds.FS(), "*.yaml")
	require.NoError(t, err)
	require.Len(t, files, 10)
	for _, file := range files {
		data, err := fs.ReadFile(crds.FS(), file)
		require.NoError(t, err)
		var d struct {
			Kind string
			Spec struct {
				Scope    string
				Names    struct{ Kind, Plural string }
				Versions []struct {
					Name         string
					Subresources struct{ Status *struct{} }
					Schema       struct{ OpenAPIV3Schema map[string]any }
					Columns      []struct{ Name string } `json:"additionalPrinterColumns"`
				}
			}
		}
		require.NoError(t, yaml.Unmarshal(data, &d))
		require.Equal(t, "CustomResourceDefinition", d.Kind)
		require.Len(t, d.Spec.Versions, 1, file)
		v := d.Spec.Versions[0]
		require.NotEmpty(t, v.Schema.OpenAPIV3Schema["properties"])
		require.NotEmpty(t, v.Columns)
		switch d.Spec.Names.Kind {
		case "Function", "Task", "BackupBlueprint":
			require.Equal(t, "Cluster", d.Spec.Scope)
			require.Nil(t, v.Subresources.Status)
		case "AppBinding":
			require.Nil(t, v.Subresources.Status)
		default:
			require.Equal(t, "Namespaced", d.Spec.Scope)
			require.NotNil(t, v.Subresources.Status, file)
		}
	}
	text, err := fs.ReadFile(crds.FS(), "stash.appscode.com_backupconfigurations.yaml")
	require.NoError(t, err)
	require.Contains(t, strings.Join(strings.Fields(string(text)), " "), "backupHistoryLimit: default: 1 format: int32 minimum: 0")
}

func TestScheduleKeepsTimeZones(t *testing.T) {
	for _, c := range []struct{ expression, zone, wantExpression, wantZone, next string }{
		{"0 3 * * *", "", "0 3 * * *", "", "2024-07-02T03:00:00Z"},
		{"0 3 * * *", "Europe/Berlin", "0 3 * * *", "Europe/Berlin", "2024-07-02T01:00:00Z"},
		{"CRON_TZ=America/New_York 0 3 * * *", "", "0 3 * * *", "America/New_York", "2024-07-01T07:00:00Z"},
		{"TZ=UTC @daily", "UTC", "@daily", "UTC", "2024-07-02T00:00:00Z"},
		{"@every 90m", "", "@every 90m", "", "2024-07-01T07:00:00Z"},
	} {
		s, err := task.ParseSchedule(c.expression, c.zone)
		require.NoError(t, err)
		require.Equal(t, c.wantExpression, s.Expression)
		require.Equal(t, c.wantZone, s.TimeZone)
		require.Equal(t, c.next, s.Next(time.Date(2024, 7, 1, 5, 30, 0, 0, time.UTC)).UTC().Format(time.RFC3339))
	}
	for _, c := range []struct{ expression, zone, want string }{
		{"", "", "no cron expression"},
		{"* * *", "", `cron expression "* * *"`},
		{"0 3 * * *", "Mars/Olympus", `time zone "Mars/Olympus" is not known`},
		{"0 3 * * *", "Local", `time zone "Local" is not known`},
		{"TZ=UTC 0 3 * * *", "Europe/Berlin", `time zone "Europe/Berlin", and "UTC"`},
	} {
		_, err := task.ParseSchedule(c.expression, c.zone)
		require.ErrorContains(t, err, c.want)
	}
}
