package flow_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// object decodes one object in YAML, strictly.
func object[T any](t *testing.T, text string) *T {
	t.Helper()
	o := new(T)
	require.NoError(t, yaml.UnmarshalStrict([]byte(text), o))
	return o
}

// The cluster is what the other tests stand on, so it is shown first what it does.
func TestCluster(t *testing.T) {
	c := startCluster(t, nil)

	t.Run("Job", func(t *testing.T) { testJob(t, c) })
	t.Run("JobFails", func(t *testing.T) { testJobFails(t, c) })
	t.Run("Volumes", func(t *testing.T) { testVolumes(t, c) })
	t.Run("Deadline", func(t *testing.T) { testDeadline(t, c) })
	t.Run("Restart", func(t *testing.T) { testRestart(t, c) })
	t.Run("CronJobAndOwners", func(t *testing.T) { testCronJobAndOwners(t, c) })
}

const everything = `
apiVersion: batch/v1
kind: Job
metadata: {name: everything}
spec:
  backoffLimit: 0
  template:
    metadata:
      labels: {color: "red"}
    spec:
      restartPolicy: Never
      securityContext: {runAsUser: 1234, runAsGroup: 2345, fsGroup: 3456, runAsNonRoot: true}
      initContainers:
      - name: first
        image: none
        command: [sh, -c, "echo from the first > /shared/note"]
        volumeMounts: [{name: shared, mountPath: /shared}]
      containers:
      - name: main
        image: none
        command: [bash, -euc]
        args:
        - |
          echo 'args: $(PLAIN) $$(PLAIN) $(UNKNOWN)'
          echo "env: $USER_NAME $FROM_MAP $POD $NS $LABEL [${MISSING-unset}] $PREFIX_color"
          echo "user: $(id -u) $(id -g) $(id -G)"
          echo "note: $(cat /shared/note)"
          echo "secret: $(cat /creds/password) $(stat -Lc %a:%g /creds/password)"
          echo "map: $(cat /map/sub/file)"
          echo "downward: $(cat /info/labels)"
          echo "hosts: $(getent ahostsv4 es | head -1 | cut -d' ' -f1) $(getent ahostsv4 es.cluster-job.svc | head -1 | cut -d' ' -f1)"
          set -- /proc/[0-9]*; echo "processes: $# of which the first is $$$$"
          touch /forbidden 2>/dev/null && echo writable || echo "root is read-only"
          touch /creds/forbidden 2>/dev/null && echo writable || echo "creds are read-only"
          token=$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)
          ask() { curl -s -o /dev/null -w '%{http_code}' --cacert /var/run/secrets/kubernetes.io/serviceaccount/ca.crt -H "Authorization: Bearer $token" https://$KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT/api/v1/namespaces/cluster-job/$1; }
          echo "rights: configmaps $(ask configmaps) secrets $(ask secrets)"
          echo finished > /dev/termination-log
        env:
        - {name: PLAIN, value: plain}
        - {name: USER_NAME, valueFrom: {secretKeyRef: {name: creds, key: user}}}
        - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
        - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
        - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
        - {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['color']"}}}
        - {name: MISSING, valueFrom: {secretKeyRef: {name: creds, key: nothing, optional: true}}}
        envFrom: [{prefix: PREFIX_, configMapRef: {name: settings}}]
        securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}
        volumeMounts:
        - {name: shared, mountPath: /shared}
        - {name: creds, mountPath: /creds, readOnly: true}
        - {name: map, mountPath: /map}
        - {name: info, mountPath: /info}
      volumes:
      - {name: shared, emptyDir: {}}
      - {name: creds, secret: {secretName: creds, defaultMode: 0400}}
      - {name: map, configMap: {name: settings, items: [{key: color, path: sub/file}]}}
      - {name: info, downwardAPI: {items: [{path: labels, fieldRef: {fieldPath: "metadata.labels['color']"}}]}}
`

func testJob(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-job")
	ctx := t.Context()
	meta := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }
	require.NoError(t, c.Create(ctx, &corev1.ConfigMap{ObjectMeta: meta("settings"), Data: map[string]string{"color": "blue"}}))
	require.NoError(t, c.Create(ctx, &corev1.Service{ObjectMeta: meta("es"), Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 9200}}}}))
	require.NoError(t, c.Create(ctx, &rbacv1.Role{ObjectMeta: meta("reader"), Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"list"}},
	}}))
	require.NoError(t, c.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: meta("reader"),
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "reader"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Name: "default"}},
	}))
	job := object[batchv1.Job](t, everything)
	job.Namespace = ns
	require.NoError(t, c.Create(ctx, job))

	// The pod waits for a Secret that comes late.
	var pods corev1.PodList
	c.eventually(t, "the pod waits", func(ctx context.Context) (bool, error) {
		err := c.List(ctx, &pods, client.InNamespace(ns))
		return len(pods.Items) == 1 && strings.Contains(pods.Items[0].Status.Message, `secrets "creds" not found`), err
	})
	require.NoError(t, c.Create(ctx, &corev1.Secret{ObjectMeta: meta("creds"), StringData: map[string]string{"user": "elastic", "password": "s3cret"}}))

	job, log := c.finished(t, client.ObjectKeyFromObject(job))
	require.True(t, condition(job, batchv1.JobComplete), log)
	require.Equal(t, strings.TrimLeft(`
== main.0
args: plain $(PLAIN) $(UNKNOWN)
env: elastic blue `+pods.Items[0].Name+` cluster-job red [unset] blue
user: 1234 2345 2345 3456
note: from the first
secret: s3cret 440:3456
map: blue
downward: red
hosts: 127.0.0.1 127.0.0.1
processes: 1 of which the first is 1
root is read-only
creds are read-only
rights: configmaps 200 secrets 403
`, "\n"), log[strings.Index(log, "== main"):])
	require.NoError(t, c.List(ctx, &pods, client.InNamespace(ns)))
	require.Equal(t, "finished\n", pods.Items[0].Status.ContainerStatuses[0].State.Terminated.Message)
}

func shell(script string) *corev1.PodTemplateSpec {
	return &corev1.PodTemplateSpec{Spec: corev1.PodSpec{
		RestartPolicy:                 corev1.RestartPolicyNever,
		TerminationGracePeriodSeconds: new(int64(5)),
		Containers:                    []corev1.Container{{Name: "main", Image: "none", Command: []string{"bash", "-euc", script}}},
	}}
}

func (c *cluster) job(t *testing.T, namespace, name string, spec batchv1.JobSpec) *batchv1.Job {
	t.Helper()
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Spec: spec}
	require.NoError(t, c.Create(t.Context(), job))
	return job
}

func testJobFails(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-fails")
	template := shell("echo alas >&2; exit 3")
	template.Spec.Containers[0].TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
	job := c.job(t, ns, "fails", batchv1.JobSpec{BackoffLimit: new(int32(1)), Template: *template})
	job, log := c.finished(t, client.ObjectKeyFromObject(job))
	require.True(t, condition(job, batchv1.JobFailed), log)
	require.EqualValues(t, 2, job.Status.Failed)
	var pods corev1.PodList
	require.NoError(t, c.List(t.Context(), &pods, client.InNamespace(ns)))
	require.Len(t, pods.Items, 2)
	for _, p := range pods.Items {
		end := p.Status.ContainerStatuses[0].State.Terminated
		require.EqualValues(t, 3, end.ExitCode)
		require.Equal(t, "alas\n", end.Message)
	}
}

// A claim and a generic ephemeral volume are folders that go away with their owners; a claim keeps what is in it.
func testVolumes(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-volumes")
	ctx := t.Context()
	size := corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}}
	spec := corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}, Resources: size}
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "data"}, Spec: spec}
	require.NoError(t, c.Create(ctx, claim))
	run := func(name, script string) string {
		template := shell(script)
		template.Spec.SecurityContext = &corev1.PodSecurityContext{RunAsUser: new(int64(1000))}
		template.Spec.Volumes = []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}},
			{Name: "scratch", VolumeSource: corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{
				VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{Spec: spec},
			}}},
		}
		template.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{
			{Name: "data", MountPath: "/data", SubPath: "below"}, {Name: "scratch", MountPath: "/scratch"},
		}
		job := c.job(t, ns, name, batchv1.JobSpec{BackoffLimit: new(int32(0)), Template: *template})
		job, log := c.finished(t, client.ObjectKeyFromObject(job))
		require.True(t, condition(job, batchv1.JobComplete), log)
		require.NoError(t, c.Delete(ctx, job, client.PropagationPolicy(metav1.DeletePropagationBackground)))
		return log
	}
	run("writes", "echo kept > /data/file; echo lost > /scratch/file")
	require.Equal(t, "== main.0\nkept\n", run("reads", "cat /data/file; ls /scratch"))

	var pods corev1.PodList
	c.gone(t, ns, &pods, func() int { return len(pods.Items) })
	require.NoError(t, c.Delete(ctx, claim))
	var claims corev1.PersistentVolumeClaimList
	c.gone(t, ns, &claims, func() int { return len(claims.Items) })
	var volumes corev1.PersistentVolumeList
	c.gone(t, "", &volumes, func() int { return len(volumes.Items) })
}

// A Job that takes too long is ended, with all that it started.
func testDeadline(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-deadline")
	job := c.job(t, ns, "slow", batchv1.JobSpec{
		ActiveDeadlineSeconds: new(int64(2)),
		Template:              *shell("trap 'echo asked to end; exit 9' TERM; (trap '' TERM; sleep 1000) & while :; do sleep 0.1; done"),
	})
	job, _ = c.finished(t, client.ObjectKeyFromObject(job))
	require.True(t, condition(job, batchv1.JobFailed))
	require.Equal(t, batchv1.JobReasonDeadlineExceeded, job.Status.Conditions[len(job.Status.Conditions)-1].Reason)
	var pods corev1.PodList
	c.gone(t, ns, &pods, func() int { return len(pods.Items) })
}

// A Deployment's container that is killed starts again in the same pod.
func testRestart(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-restart")
	labels := map[string]string{"app": "server"}
	template := shell("echo started; exec sleep 1000")
	template.Labels, template.Spec.RestartPolicy = labels, corev1.RestartPolicyAlways
	require.NoError(t, c.Create(t.Context(), &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "server"},
		Spec:       appsv1.DeploymentSpec{Selector: &metav1.LabelSelector{MatchLabels: labels}, Template: *template},
	}))
	var pods corev1.PodList
	running := func(restarts int32) {
		c.eventually(t, "the server runs", func(ctx context.Context) (bool, error) {
			err := c.List(ctx, &pods, client.InNamespace(ns))
			if err != nil || len(pods.Items) != 1 || len(pods.Items[0].Status.ContainerStatuses) != 1 {
				return false, err
			}
			s := pods.Items[0].Status.ContainerStatuses[0]
			return s.Ready && s.RestartCount == restarts, nil
		})
	}
	running(0)
	name := pods.Items[0].Name
	wrote := func(log string) {
		c.eventually(t, "the server wrote", func(context.Context) (bool, error) { return c.PodLog(t, ns, name) == log, nil })
	}
	wrote("== main.0\nstarted\n") // a container is ready as soon as its process is there
	killed, err := c.KillContainer(pods.Items[0].Status.ContainerStatuses[0].ContainerID)
	require.NoError(t, err)
	require.True(t, killed)
	running(1)
	require.Equal(t, name, pods.Items[0].Name)
	require.EqualValues(t, 137, pods.Items[0].Status.ContainerStatuses[0].LastTerminationState.Terminated.ExitCode)
	wrote("== main.0\nstarted\n== main.1\nstarted\n")
}

// A CronJob owns its Jobs and these their pods: all go when it goes.
func testCronJobAndOwners(t *testing.T, c *cluster) {
	ns := c.namespace(t, "cluster-cron")
	cron := &batchv1.CronJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "never"},
		Spec: batchv1.CronJobSpec{
			Schedule:    "0 0 30 2 *", // the thirtieth of February: no test waits for a clock here
			JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: *shell("echo by hand")}},
		},
	}
	require.NoError(t, c.Create(t.Context(), cron))
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "now", OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(cron, batchv1.SchemeGroupVersion.WithKind("CronJob")),
		}},
		Spec: cron.Spec.JobTemplate.Spec,
	}
	require.NoError(t, c.Create(t.Context(), job))
	job, log := c.finished(t, client.ObjectKeyFromObject(job))
	require.True(t, condition(job, batchv1.JobComplete), log)
	require.NoError(t, c.Delete(t.Context(), cron, client.PropagationPolicy(metav1.DeletePropagationForeground)))
	var jobs batchv1.JobList
	c.gone(t, ns, &jobs, func() int { return len(jobs.Items) })
	var pods corev1.PodList
	c.gone(t, ns, &pods, func() int { return len(pods.Items) })
}
