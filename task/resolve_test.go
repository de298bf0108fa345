package task_test

import (
	"context"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"sigs.k8s.io/yaml"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

var update = flag.Bool("update", false, "write the golden files anew")

func object[T task.Object](t *testing.T, text string) T {
	t.Helper()
	o, err := task.Parse([]byte("apiVersion: stash.appscode.com/v1beta1\n" + text))
	require.NoError(t, err)
	return o.(T)
}

func file[T task.Object](t *testing.T, name string) T {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata/stash", name))
	require.NoError(t, err)
	o, err := task.Parse(data)
	require.NoError(t, err)
	return o.(T)
}

func s3Repository() *storage.Repository {
	r := &storage.Repository{}
	r.Name, r.Namespace = "store", "storage"
	r.Spec.Backend = storage.Backend{StorageSecretName: "s3-secret", S3: &storage.S3Spec{Endpoint: "https://minio.storage.svc:9000",
		Bucket: "backups", Prefix: "/demo/es/", Region: "eu-central-1", InsecureTLS: true}}
	return r
}

func binding(t *testing.T) *appbinding.AppBinding {
	t.Helper()
	b, err := appbinding.Parse([]byte(`
apiVersion: appcatalog.appscode.com/v1alpha1
kind: AppBinding
metadata: {name: es, namespace: demo}
spec:
  type: kubedb.com/elasticsearch
  version: 8.2.0
  clientConfig: {service: {name: es, scheme: http}}
  parameters:
    apiVersion: appcatalog.appscode.com/v1alpha1
    kind: StashAddon
    replicas: 3
    stash:
      addon:
        backupTask: {name: all-variables, params: [{name: args, value: from-the-binding}]}
        restoreTask: {name: all-variables}
`))
	require.NoError(t, err)
	return b
}

const backupSession = "kind: BackupSession\nmetadata: {name: nightly-1700000000, namespace: demo, uid: 1f6c}\nspec: {invoker: {kind: BackupConfiguration, name: nightly}}"

// variables is a Function that shows all variables of the documentation.
func variables(names ...string) string {
	var b strings.Builder
	b.WriteString("kind: Function\nmetadata: {name: all-variables}\nspec:\n  image: x\n  args:\n")
	for _, n := range names {
		b.WriteString("  - " + n + "=${" + n + ":=-}\n")
	}
	return b.String()
}

func all(t *testing.T) *task.Catalog {
	return task.NewCatalog(
		object[*task.Task](t, "kind: Task\nmetadata: {name: all-variables}\nspec: {steps: [{name: all-variables, params: [{name: own, value: step}, {name: args, value: step}, {name: TARGET_NAME, value: step}, {name: joined, value: '${TARGET_NAME}-x'}]}]}"),
		object[*task.Function](t, variables("NAMESPACE", "BACKUP_SESSION", "RESTORE_SESSION", "REPOSITORY_NAME", "REPOSITORY_NAMESPACE", "REPOSITORY_PROVIDER",
			"REPOSITORY_SECRET_NAME", "REPOSITORY_SECRET_NAMESPACE", "REPOSITORY_BUCKET", "REPOSITORY_PREFIX", "REPOSITORY_ENDPOINT", "REPOSITORY_REGION",
			"REPOSITORY_INSECURE_TLS", "REPOSITORY_URL", "MAX_CONNECTIONS", "HOSTNAME", "SOURCE_HOSTNAME", "INTERIM_DATA_DIR", "TARGET_NAME", "TARGET_KIND",
			"TARGET_NAMESPACE", "TARGET_API_VERSION", "TARGET_MOUNT_PATH", "TARGET_PATHS", "TARGET_APP_GROUP", "TARGET_APP_RESOURCE", "TARGET_APP_TYPE",
			"TARGET_APP_VERSION", "TARGET_APP_REPLICAS", "INVOKER_KIND", "INVOKER_NAME", "ADDON_IMAGE", "EXCLUDE_PATTERNS", "INCLUDE_PATTERNS", "DRIVER_ARGS",
			"RESTORE_PATHS", "RESTORE_SNAPSHOTS", "RETENTION_KEEP_LAST", "RETENTION_KEEP_HOURLY", "RETENTION_KEEP_DAILY", "RETENTION_KEEP_WEEKLY",
			"RETENTION_KEEP_MONTHLY", "RETENTION_KEEP_YEARLY", "RETENTION_KEEP_TAGS", "RETENTION_PRUNE", "RETENTION_DRY_RUN", "ENABLE_CACHE",
			"PROMETHEUS_PUSHGATEWAY_URL", "PROMETHEUS_JOB_NAME", "STASH_DOCKER_REGISTRY", "STASH_DOCKER_IMAGE", "STASH_IMAGE_TAG", "LICENSE_APISERVICE",
			"args", "own", "joined")),
	)
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata/plan", name)
	if *update {
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestVariablesOfABackup(t *testing.T) {
	conf := object[*task.BackupConfiguration](t, `
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  schedule: "0 3 * * *"
  repository: {name: store, namespace: storage}
  task: {params: [{name: args, value: from the configuration}]}
  target: {alias: es, ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}, paths: [/a, /b], exclude: [x, z], args: [-v, -w]}
  tempDir: {disableCaching: true}
  retentionPolicy: {keepLast: 1, keepHourly: 2, keepDaily: 3, keepWeekly: 4, keepMonthly: 5, keepYearly: -1, keepTags: [a, b], prune: true, dryRun: true}
`)
	p, err := task.Resolve(t.Context(), all(t), task.Invocation{Session: object[*task.BackupSession](t, backupSession), Invoker: conf,
		Repository: s3Repository(), AppBinding: binding(t), AddonImage: "addon:1", DockerRegistry: "r", DockerImage: "i", ImageTag: "1",
		Pushgateway: "http://push:9091", Variables: task.Variables{"LICENSE_APISERVICE": "none"}})
	require.NoError(t, err)
	golden(t, "variables-backup.txt", []byte(strings.Join(p.Steps[0].Spec.Args, "\n")+"\n"))
	require.Equal(t, "es", p.Host())
	require.Equal(t, "demo", p.Target().Namespace)
}

func TestVariablesOfARestore(t *testing.T) {
	s := object[*task.RestoreSession](t, `
kind: RestoreSession
metadata: {name: back, namespace: demo, uid: 2a}
spec:
  repository: {name: store, namespace: storage}
  target:
    ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es, namespace: other}
    rules: [{targetHosts: [host-1], snapshots: [other]}, {sourceHost: es, snapshots: [ab, cd], include: [a, b], exclude: [c]}]
  interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
`)
	repo := s3Repository()
	repo.Spec.Backend.S3 = nil
	repo.Spec.Backend.Rest = &storage.RestSpec{URL: "https://user:secretword@rest.example.com/x"}
	p, err := task.Resolve(t.Context(), all(t), task.Invocation{Session: s, Repository: repo, AppBinding: binding(t)})
	require.NoError(t, err)
	text := strings.Join(p.Steps[0].Spec.Args, "\n") + "\n"
	require.NotContains(t, text, "secretword")
	golden(t, "variables-restore.txt", []byte(text))
}

func TestValuesCannotChangeTheStructure(t *testing.T) {
	hostile := "a\"b\\c\n- d: e # ${NAMESPACE} $1"
	c := task.NewCatalog(
		object[*task.Task](t, "kind: Task\nmetadata: {name: t}\nspec: {steps: [{name: f}], volumes: [{name: '${vol}', emptyDir: {}}]}"),
		object[*task.Function](t, "kind: Function\nmetadata: {name: f}\nspec: {image: x, args: ['--x=${nasty}', '$${NAMESPACE} ${empty:=no} ${absent:=a b} $HOME $(X)'], volumeMounts: [{name: '${vol}', mountPath: /m}]}"),
	)
	conf := file[*task.BackupConfiguration](t, "backupconfiguration.yaml")
	conf.Spec.Hooks = nil
	conf.Spec.Task = task.TaskRef{Name: "t", Params: []task.Param{{Name: "nasty", Value: hostile}, {Name: "vol", Value: "data"}, {Name: "empty"}}}
	in := task.Invocation{Session: object[*task.BackupSession](t, backupSession), Invoker: conf}
	p, err := task.Resolve(t.Context(), c, in)
	require.NoError(t, err)
	require.Equal(t, []string{"--x=" + hostile, "${NAMESPACE}  a b $HOME $(X)"}, p.Steps[0].Spec.Args)
	require.Equal(t, "data", p.Steps[0].Spec.VolumeMounts[0].Name)
	job, err := p.Job()
	require.NoError(t, err)
	require.Equal(t, "data", job.Spec.Template.Spec.Volumes[0].Name)
}

func TestEveryUndefinedVariableIsReportedAtOnce(t *testing.T) {
	c := task.NewCatalog(
		object[*task.Task](t, "kind: Task\nmetadata: {name: t}\nspec: {steps: [{name: f, params: [{name: p, value: '${three}'}]}, {name: g}], volumes: [{name: v, configMap: {name: '${four}'}}]}"),
		object[*task.Function](t, "kind: Function\nmetadata: {name: f}\nspec: {image: '${one}', args: ['${two} ${one} ${p}']}"),
		object[*task.Function](t, "kind: Function\nmetadata: {name: g}\nspec: {image: x, args: ['${p}']}"),
		object[*task.Task](t, "kind: Task\nmetadata: {name: open}\nspec: {steps: [{name: open}]}"),
		object[*task.Function](t, "kind: Function\nmetadata: {name: open}\nspec: {image: x, args: ['${two']}"),
		object[*task.Task](t, "kind: Task\nmetadata: {name: shell}\nspec: {steps: [{name: shell}]}"),
		object[*task.Function](t, "kind: Function\nmetadata: {name: shell}\nspec: {image: x, args: ['${two:-x}']}"),
		object[*task.Task](t, "kind: Task\nmetadata: {name: lost}\nspec: {steps: [{name: nowhere}]}"),
	)
	resolve := func(name string) error {
		conf := file[*task.BackupConfiguration](t, "backupconfiguration.yaml")
		conf.Spec.Task, conf.Spec.Hooks = task.TaskRef{Name: name}, nil
		_, err := task.Resolve(t.Context(), c, task.Invocation{Session: object[*task.BackupSession](t, backupSession), Invoker: conf})
		return err
	}
	err := resolve("t")
	var undefined *task.UndefinedError
	require.ErrorAs(t, err, &undefined)
	require.ErrorContains(t, err, "resolve the task of backupsession demo/nightly-1700000000: undefined variables: ${four} (task t: volumes[0].configMap.name), "+
		"${one} (function f: args[0]), ${p} (function g: args[0]), ${three} (step f: params[0]), ${two} (function f: args[0])")
	require.Equal(t, []string{"function f: args[0]", "function f: image"}, undefined.Variables["one"])
	require.ErrorContains(t, resolve("open"), "function open: args[0]: a variable has no closing brace")
	require.ErrorContains(t, resolve("shell"), "${two:-x} is not a variable")
	require.ErrorIs(t, resolve("lost"), fs.ErrNotExist)
	require.ErrorIs(t, resolve("none"), fs.ErrNotExist)
	require.ErrorContains(t, resolve(""), "spec.task.name: is required")
}

func stash(t *testing.T) *task.Catalog {
	status := object[*task.Function](t, `
kind: Function
metadata: {name: update-status}
spec:
  image: ${ADDON_IMAGE}
  args: [update-status, "--namespace=${NAMESPACE}", "--backupsession=${BACKUP_SESSION:=}", "--restoresession=${RESTORE_SESSION:=}", "--output-dir=${outputDir:=}"]
`)
	restore := object[*task.Function](t, `
kind: Function
metadata: {name: elasticsearch-restore-8.2.0}
spec:
  image: ${ADDON_IMAGE}
  args: [restore-es, "--hostname=${HOSTNAME:=}", "--source-hostname=${SOURCE_HOSTNAME:=}", "--snapshot=${RESTORE_SNAPSHOTS:=}", "--interim-data-dir=${INTERIM_DATA_DIR}"]
`)
	return task.NewCatalog(file[*task.Task](t, "task.yaml"), file[*task.Function](t, "function.yaml"), status, restore,
		object[*task.Task](t, "kind: Task\nmetadata: {name: elasticsearch-restore-8.2.0}\nspec: {steps: [{name: elasticsearch-restore-8.2.0}, {name: update-status}]}"))
}

// TestJobs compares whole Jobs with what the facts say they look like; the golden files are read by people.
func TestJobs(t *testing.T) {
	session := object[*task.BackupSession](t, backupSession)
	plain := object[*task.BackupConfiguration](t, `
kind: BackupConfiguration
metadata: {name: nightly, namespace: demo}
spec:
  repository: {name: store}
  task: {name: elasticsearch-backup-8.2.0}
  target: {ref: {apiVersion: appcatalog.appscode.com/v1alpha1, kind: AppBinding, name: es}}
`)
	local := s3Repository()
	local.Spec.Backend = storage.Backend{StorageSecretName: "s", Local: &storage.LocalSpec{MountPath: "/safe/data", SubPath: "es"}}
	batch := object[*task.BackupBatch](t, `
kind: BackupBatch
metadata: {name: a-name-that-is-so-long-that-nothing-can-be-put-behind-it, namespace: demo}
spec:
  repository: {name: store}
  members:
  - {task: {name: elasticsearch-backup-8.2.0}, target: {alias: a, ref: {kind: AppBinding, name: a}}}
  - task: {name: elasticsearch-backup-8.2.0}
    target: {alias: b, ref: {kind: AppBinding, name: b}}
    interimVolumeTemplate: {metadata: {name: tmp}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}
`)
	long := object[*task.BackupSession](t, strings.Replace(backupSession, "nightly-1700000000", batch.Name+"-1700000000", 1))
	for name, in := range map[string]task.Invocation{
		"plain":     {Session: session, Invoker: plain, Repository: s3Repository(), ServiceAccount: "runner"},
		"local":     {Session: session, Invoker: plain, Repository: local},
		"full":      {Session: session, Invoker: file[*task.BackupConfiguration](t, "backupconfiguration.yaml"), Repository: s3Repository(), ServiceAccount: "runner"},
		"ephemeral": {Session: session, Invoker: file[*task.BackupConfiguration](t, "backupconfiguration.yaml"), Repository: s3Repository(), EphemeralVolume: true},
		"restore":   {Session: withUID(file[*task.RestoreSession](t, "restoresession.yaml")), Repository: s3Repository()},
		"member":    {Session: long, Invoker: batch, Member: 1, Repository: s3Repository()},
	} {
		t.Run(name, func(t *testing.T) {
			in.AddonImage = "registry.example.com/escrow:1"
			p, err := task.Resolve(t.Context(), stash(t), in)
			require.NoError(t, err)
			job, err := p.Job()
			require.NoError(t, err)
			again, err := p.Job()
			require.NoError(t, err)
			require.Equal(t, job, again)
			out, err := yaml.Marshal(job)
			require.NoError(t, err)
			claim, err := p.Claim()
			require.NoError(t, err)
			if claim != nil {
				text, err := yaml.Marshal(claim)
				require.NoError(t, err)
				out = append(append(out, "---\n"...), text...)
			}
			golden(t, "job-"+name+".yaml", out)
			for _, c := range append(job.Spec.Template.Spec.InitContainers, job.Spec.Template.Spec.Containers...) {
				require.LessOrEqual(t, len(c.Name), 63)
			}
		})
	}
}

func withUID[T task.Object](o T) T {
	o.SetUID("77")
	return o
}

func TestJobNeedsAnImageAndAnOwner(t *testing.T) {
	in := task.Invocation{Session: object[*task.BackupSession](t, backupSession), Invoker: file[*task.BackupConfiguration](t, "backupconfiguration.yaml"), AddonImage: ""}
	_, err := task.Resolve(t.Context(), stash(t), in)
	require.ErrorContains(t, err, "ADDON_IMAGE")
	in.Variables = task.Variables{"ADDON_IMAGE": ""}
	p, err := task.Resolve(t.Context(), stash(t), in)
	require.NoError(t, err)
	_, err = p.Job()
	require.ErrorContains(t, err, "spec.image: is required")
	in.Session.SetUID("")
	_, err = p.Job()
	require.ErrorContains(t, err, "metadata.uid")
}

func TestRunEndsAtTheFirstFailureButForWhatTellsOfIt(t *testing.T) {
	conf := file[*task.BackupConfiguration](t, "backupconfiguration.yaml")
	p, err := task.Resolve(t.Context(), stash(t), task.Invocation{Session: object[*task.BackupSession](t, backupSession), Invoker: conf, AddonImage: "x"})
	require.NoError(t, err)
	names := []string{}
	for _, s := range p.Steps {
		names = append(names, s.Name)
	}
	require.Equal(t, []string{"pre-hook", "elasticsearch-backup-8-2-0", "update-status", "post-hook"}, names)

	broken := errors.New("the cluster is gone")
	for name, c := range map[string]struct {
		fail string
		want []string
	}{
		"all succeed":   {"", []string{"preBackup", "elasticsearch-backup", "update-status", "postBackup"}},
		"a hook fails":  {"preBackup", []string{"preBackup", "update-status failed", "postBackup failed"}},
		"a step fails":  {"elasticsearch-backup", []string{"preBackup", "elasticsearch-backup", "update-status failed", "postBackup failed"}},
		"status fails":  {"update-status", []string{"preBackup", "elasticsearch-backup", "update-status", "postBackup failed"}},
		"context ended": {"context", []string{"preBackup", "update-status failed", "postBackup failed"}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var ran []string
			step := func(name string) task.Func {
				return func(ctx context.Context, call *task.Call) error {
					require.NoError(t, ctx.Err())
					what := name
					if call.Step.Hook != "" {
						what = call.Step.Hook
					}
					dir := filepath.Dir(call.Path(task.TempDir + "/x"))
					require.DirExists(t, dir)
					if name == "elasticsearch-backup" {
						require.NoError(t, os.WriteFile(call.Path(task.TempDir+"/x"), []byte("1"), 0o600))
					}
					require.Equal(t, filepath.Join(dir, "x"), call.Path("stash-tmp/../stash-tmp/x"))
					failed := what == c.fail
					if call.Failed != nil {
						require.ErrorIs(t, call.Failed, broken)
						what += " failed"
					}
					ran = append(ran, what)
					if c.fail == "context" && what == "preBackup" {
						cancel(broken)
					}
					if failed {
						return broken
					}
					return nil
				}
			}
			err := p.Run(ctx, task.Runner{Functions: map[string]task.Func{task.HookFunction: step("hook"),
				"elasticsearch-backup": step("elasticsearch-backup"), task.StatusFunction: step("update-status")}})
			require.Equal(t, c.want, ran)
			if c.fail == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, broken)
			require.ErrorContains(t, err, "run task elasticsearch-backup-8.2.0: step ")
		})
	}
	err = p.Run(t.Context(), task.Runner{Functions: map[string]task.Func{task.HookFunction: nil}})
	require.ErrorIs(t, err, fs.ErrNotExist)
}
