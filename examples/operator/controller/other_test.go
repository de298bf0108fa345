package controller_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/examples/operator/kube"
	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

func TestARepositorySaysWhoUsesIt(t *testing.T) {
	r, c := store(t), configuration(t, "")
	w := newWorld(t, secret("demo"), r, binding(t, "es"), c)
	w.live(1)
	require.Equal(t, []storage.ObjectReference{{APIGroup: "stash.appscode.com", Kind: "BackupConfiguration", Namespace: "demo", Name: "nightly"}},
		read(w, r).Status.References)
	require.NoError(t, w.api.Delete(t.Context(), read(w, c)))
	w.live(3)
	require.Empty(t, read(w, r).Status.References)
	require.NoError(t, w.api.Delete(t.Context(), r))
	w.live(1)
	require.True(t, gone(w, r))
	require.Contains(t, w.sink.groups, "repository-demo-store")
}

// files counts what lies in the bucket.
func files(t *testing.T, b backend.Backend) int {
	n := 0
	for _, kind := range backend.FileTypes {
		for _, err := range b.List(t.Context(), kind) {
			require.NoError(t, err)
			n++
		}
	}
	return n
}

func TestARepositoryIsWipedOut(t *testing.T) {
	for _, wipe := range []bool{true, false} {
		r := store(t)
		r.Spec.WipeOut = wipe
		c := configuration(t, "")
		w := newWorld(t, secret("demo"), r, binding(t, "es"), c)
		place, err := r.Backend(t.Context(), w.op.Mux, &kube.Store{Client: w.api})
		require.NoError(t, err)
		repo, err := repository.Init(t.Context(), place, "a long password", nil)
		require.NoError(t, err)
		require.NoError(t, repo.Close())
		before := files(t, place)
		require.Positive(t, before)
		w.live(1)

		// Not while a backup runs.
		w.pod = func(*batchv1.Job) outcome { return outcome{running: true} }
		s := w.trigger(read(w, c))
		w.live(3)
		require.Equal(t, task.SessionRunning, read(w, s).Status.Phase)
		require.NoError(t, w.api.Delete(t.Context(), read(w, r)))
		w.live(2)
		require.Equal(t, before, files(t, place))
		if !wipe {
			require.True(t, gone(w, r))
			continue
		}
		require.Contains(t, w.told(), "StillInUse")
		require.NoError(t, w.api.Delete(t.Context(), w.jobs()[0]))
		w.live(4)
		require.True(t, gone(w, r))
		require.Zero(t, files(t, place))
	}
}

func TestARepositoryWhoseSecretIsGoneIsNotForgotten(t *testing.T) {
	r := store(t)
	r.Spec.WipeOut = true
	w := newWorld(t, secret("demo"), r)
	w.live(1)
	require.NoError(t, w.api.Delete(t.Context(), secret("demo")))
	require.NoError(t, w.api.Delete(t.Context(), read(w, r)))
	_, errs := w.round()
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "secret demo/storage")
	require.False(t, gone(w, r))
	require.Contains(t, w.told(), "NotWipedOut")
	r.Spec.WipeOut = false
	require.NoError(t, w.api.Update(t.Context(), r))
	w.live(1)
	require.True(t, gone(w, r))
}

const blueprint = `
kind: BackupBlueprint
metadata: {name: daily}
spec:
  backend: {storageSecretName: storage, s3: {bucket: backups, prefix: "${TARGET_NAMESPACE}/${TARGET_NAME}"}}
  schedule: "0 2 * * *"
  task: {name: elasticsearch-backup}
`

func TestAnAppBindingAsksForABlueprint(t *testing.T) {
	b, bp := binding(t, "es"), parse[*task.BackupBlueprint](t, blueprint)
	b.Annotations = map[string]string{task.AnnotationBlueprint: "daily"}
	w := newWorld(t, secret("demo"), b, bp)
	w.live(3)
	require.Len(t, w.confs(), 1)
	c := w.confs()[0]
	require.Equal(t, "app-es", c.Name)
	require.Equal(t, task.InvokerReady, c.Status.Phase)
	require.True(t, metav1.IsControlledBy(c, b))
	require.Equal(t, "0 2 * * *", w.crons()[0].Spec.Schedule)
	r := &storage.Repository{ObjectMeta: metav1.ObjectMeta{Namespace: "demo", Name: "app-es"}}
	require.Equal(t, "demo/es", read(w, r).Spec.Backend.S3.Prefix)
	version := c.ResourceVersion
	w.live(2)
	require.Equal(t, version, w.confs()[0].ResourceVersion)

	read(w, b).Annotations[task.AnnotationSchedule] = "0 4 * * *"
	require.NoError(t, w.api.Update(t.Context(), b))
	w.live(2)
	require.Equal(t, "0 4 * * *", w.crons()[0].Spec.Schedule)

	// What cannot be made leaves alone what there is.
	read(w, bp).Spec.Backend.S3.Prefix = "${NOBODY_KNOWS}"
	require.NoError(t, w.api.Update(t.Context(), bp))
	w.live(1)
	require.Len(t, w.confs(), 1)
	require.Contains(t, w.told(), "NOBODY_KNOWS")

	delete(read(w, b).Annotations, task.AnnotationBlueprint)
	require.NoError(t, w.api.Update(t.Context(), b))
	w.live(4)
	require.Empty(t, w.confs())
	require.Empty(t, w.crons())
	require.False(t, gone(w, r), "backups outlive what was backed up")
}

func TestABlueprintDoesNotTakeWhatIsTheUsers(t *testing.T) {
	b, bp := binding(t, "es"), parse[*task.BackupBlueprint](t, blueprint)
	b.Annotations = map[string]string{task.AnnotationBlueprint: "daily, missing"}
	theirs := store(t)
	theirs.Name = "app-es-daily"
	w := newWorld(t, secret("demo"), b, bp, theirs)
	_, errs := w.round()
	require.Len(t, errs, 1)
	require.ErrorContains(t, errs[0], "belongs to something else")
	require.Empty(t, w.confs())
	require.Empty(t, read(w, theirs).Spec.Backend.S3.Prefix)

	require.NoError(t, w.api.Delete(t.Context(), theirs))
	_, _ = w.round() // it is let go
	w.live(2)
	require.Len(t, w.confs(), 1)
	require.Contains(t, w.told(), "There is no BackupBlueprint missing.")
}

func TestUsagePolicyBySelector(t *testing.T) {
	r := store(t)
	r.Namespace = "stores"
	r.Spec.UsagePolicy = &storage.UsagePolicy{AllowedNamespaces: storage.AllowedNamespaces{From: ptr.To(storage.NamespacesFromSelector),
		Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"team": "search"}}}}
	c := configuration(t, "")
	c.Spec.Repository.Namespace = "stores"
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "demo"}}
	w := newWorld(t, secret("stores"), r, binding(t, "es"), ns, c)
	w.live(1)
	require.Equal(t, task.InvokerInvalid, read(w, c).Status.Phase)
	ns.Labels = map[string]string{"team": "search"}
	require.NoError(t, w.api.Update(t.Context(), ns))
	w.live(1)
	require.Equal(t, task.InvokerReady, read(w, c).Status.Phase)
	s := w.trigger(c)
	w.live(4)
	require.Equal(t, task.SessionSucceeded, read(w, s).Status.Phase)
	var b rbacv1.RoleBinding
	require.NoError(t, w.api.Get(t.Context(), client.ObjectKey{Namespace: "stores", Name: "escrow-runner-demo-escrow-runner"}, &b))
	require.Equal(t, []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "demo", Name: "escrow-runner"}}, b.Subjects)

	// Who has taken its place is put out again.
	b.Subjects[0].Namespace = "elsewhere"
	require.NoError(t, w.api.Update(t.Context(), &b))
	w.now = w.now.Add(time.Minute)
	w.trigger(c)
	w.live(4)
	require.NoError(t, w.api.Get(t.Context(), client.ObjectKeyFromObject(&b), &b))
	require.Equal(t, "demo", b.Subjects[0].Namespace)
}

func TestOwnServiceAccount(t *testing.T) {
	c := configuration(t, "  runtimeSettings: {pod: {serviceAccountName: theirs}}\n")
	w := newWorld(t, append(needs(t), c)...)
	w.live(1)
	w.trigger(read(w, c))
	w.live(3)
	require.Equal(t, "theirs", w.jobs()[0].Spec.Template.Spec.ServiceAccountName)
	var b rbacv1.RoleBinding
	require.NoError(t, w.api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "escrow-runner-demo-theirs"}, &b))
	require.Error(t, w.api.Get(t.Context(), client.ObjectKey{Namespace: "demo", Name: "theirs"}, new(corev1.ServiceAccount)), "it is for the user to make")
}

func TestWhatCannotBeUsedIsTold(t *testing.T) {
	w := newWorld(t, &task.Task{ObjectMeta: metav1.ObjectMeta{Name: "empty"}},
		&task.Function{ObjectMeta: metav1.ObjectMeta{Name: "odd"}, Spec: task.FunctionSpec{VolumeMounts: []corev1.VolumeMount{{Name: "x"}}}})
	w.live(1)
	told := w.told()
	require.Contains(t, told, "task empty: spec.steps: is required")
	require.Contains(t, told, "function odd: spec.volumeMounts[0].mountPath: is required")
}
