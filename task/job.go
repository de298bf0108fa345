package task

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
)

// What a Job has at fixed places.
const (
	// TempDir is a scratch directory, which is also /tmp.
	TempDir = "/stash-tmp"
	// OutputDir is where Functions of this project leave their output.json, unless the Task says where.
	OutputDir = TempDir + "/output"
	// InterimDir is where the interim volume is mounted, and InterimDataDir the directory for data in it.
	InterimDir     = "/stash-interim-volume"
	InterimDataDir = InterimDir + "/data"

	tempVolume    = "stash-tmp-dir"
	interimVolume = "stash-interim-volume"
	localVolume   = "stash-local"
)

// Labels of what is made for a session.
const (
	LabelManagedBy   = "app.kubernetes.io/managed-by"
	LabelComponent   = "app.kubernetes.io/component"
	LabelInvokerKind = "stash.appscode.com/invoker-type"
	LabelInvokerName = "stash.appscode.com/invoker-name"
	LabelSession     = "stash.appscode.com/session"

	managedBy = "stash.appscode.com"
)

// nobody is the user and group of processes for which nothing else is asked.
const nobody = 65534

// Labels are those of the Job, its pod and its claim.
func (p *Plan) Labels() map[string]string {
	component := "stash-backup"
	if p.target.restore {
		component = "stash-restore"
	}
	return map[string]string{
		LabelManagedBy: managedBy, LabelComponent: component, LabelInvokerKind: p.target.kind,
		LabelInvokerName: labelValue(p.target.name), LabelSession: labelValue(p.Invocation.Session.GetName()),
	}
}

func labelValue(s string) string { return shorten(s, 63) }

// shorten cuts a name that is too long, and keeps it unique by a hash.
func shorten(s string, most int) string {
	if len(s) <= most {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return strings.TrimRight(s[:most-9], "-.") + "-" + hex.EncodeToString(sum[:])[:8]
}

// JobName is the same for every resolution of the same target of the same session, so that a Job is made once.
func (p *Plan) JobName() string { return p.Invocation.JobName() }

// JobName is the name of the Job for the target of the session, whether or not its Task can be resolved.
func (in *Invocation) JobName() string {
	verb := "restore"
	if _, ok := in.Session.(*BackupSession); ok {
		verb = "backup"
	}
	return shorten(fmt.Sprintf("stash-%s-%s-%d", verb, in.Session.GetName(), in.Member), 63)
}

func (p *Plan) owner() ([]metav1.OwnerReference, error) {
	s := p.Invocation.Session
	kind := KindBackupSession
	switch s.(type) {
	case *RestoreSession:
		kind = KindRestoreSession
	case *RestoreBatch:
		kind = KindRestoreBatch
	}
	if s.GetUID() == "" {
		return nil, fmt.Errorf("%v: metadata.uid: is required for what it is to own", s)
	}
	return []metav1.OwnerReference{{APIVersion: GroupVersion.String(), Kind: kind, Name: s.GetName(), UID: s.GetUID(),
		Controller: ptr.To(true), BlockOwnerDeletion: ptr.To(true)}}, nil
}

// Claim is the PersistentVolumeClaim for the interim volume, to be made before the Job; nil if there is none to be made.
func (p *Plan) Claim() (*corev1.PersistentVolumeClaim, error) {
	t := p.target.interim
	if t == nil || p.Invocation.EphemeralVolume {
		return nil, nil
	}
	owner, err := p.owner()
	if err != nil {
		return nil, err
	}
	labels := maps.Clone(t.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, p.Labels())
	return &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: p.claimName(), Namespace: p.Namespace(), Labels: labels, Annotations: t.Annotations,
			OwnerReferences: owner},
		Spec: *t.Spec.DeepCopy(),
	}, nil
}

// claimName has the member in it: those of a batch each have a volume.
func (p *Plan) claimName() string {
	name := p.Invocation.Session.GetName() + "-" + cmp.Or(p.target.interim.Name, p.target.interim.GenerateName, "interim")
	if p.Invocation.Member > 0 {
		name += "-" + strconv.Itoa(p.Invocation.Member)
	}
	return shorten(strings.TrimRight(name, "-"), 253)
}

// Job is the plan as a Job of one pod that is not tried again: every step but the last is an init container, so that they run in order and
// end at the first failure. Processes run as nobody, unless the runtime settings say otherwise.
func (p *Plan) Job() (*batchv1.Job, error) {
	j, err := p.job()
	if err != nil {
		return nil, fmt.Errorf("job for %v: %w", p.Invocation.Session, err)
	}
	return j, nil
}

func (p *Plan) job() (*batchv1.Job, error) {
	owner, err := p.owner()
	if err != nil {
		return nil, err
	}
	volumes, mounts := p.podVolumes()
	containers := make([]corev1.Container, len(p.Steps))
	for i := range p.Steps {
		if containers[i], err = p.container(&p.Steps[i], mounts); err != nil {
			return nil, err
		}
	}
	if len(containers) == 0 {
		return nil, errors.New("the task has no steps")
	}
	last := len(containers) - 1
	pod := corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Volumes: volumes, Containers: containers[last:],
		ServiceAccountName: p.Invocation.ServiceAccount,
	}
	if last > 0 {
		pod.InitContainers = containers[:last]
	}
	labels, annotations := p.podSettings(&pod)
	spec := batchv1.JobSpec{
		BackoffLimit: ptr.To[int32](0),
		Template:     corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations}, Spec: pod},
	}
	if p.target.timeout != nil {
		spec.ActiveDeadlineSeconds = ptr.To(int64(math.Ceil(p.target.timeout.Seconds())))
	}
	return &batchv1.Job{
		TypeMeta:   metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: p.JobName(), Namespace: p.Namespace(), Labels: p.Labels(), OwnerReferences: owner},
		Spec:       spec,
	}, nil
}

// podVolumes are those of the Task and those that each container has.
func (p *Plan) podVolumes() ([]corev1.Volume, []corev1.VolumeMount) {
	t := p.target
	volumes := slices.Clone(p.volumes)
	volumes = append(volumes, corev1.Volume{Name: tempVolume, VolumeSource: corev1.VolumeSource{
		EmptyDir: &corev1.EmptyDirVolumeSource{Medium: t.tempDir.Medium, SizeLimit: t.tempDir.SizeLimit}}})
	mounts := []corev1.VolumeMount{
		{Name: tempVolume, MountPath: TempDir},
		{Name: tempVolume, MountPath: "/tmp", SubPath: "tmp"},
	}
	if t.interim != nil {
		source := corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.claimName()}}
		if p.Invocation.EphemeralVolume {
			source = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{VolumeClaimTemplate: &corev1.PersistentVolumeClaimTemplate{
				ObjectMeta: metav1.ObjectMeta{Labels: t.interim.Labels, Annotations: t.interim.Annotations}, Spec: *t.interim.Spec.DeepCopy()}}}
		}
		volumes = append(volumes, corev1.Volume{Name: interimVolume, VolumeSource: source})
		mounts = append(mounts, corev1.VolumeMount{Name: interimVolume, MountPath: InterimDir})
	}
	if r := p.Invocation.Repository; r != nil && r.Spec.Backend.Local != nil {
		l := r.Spec.Backend.Local
		volumes = append(volumes, corev1.Volume{Name: localVolume, VolumeSource: *l.VolumeSource.DeepCopy()})
		mounts = append(mounts, corev1.VolumeMount{Name: localVolume, MountPath: l.MountPath, SubPath: l.SubPath})
	}
	return volumes, mounts
}

func (p *Plan) container(s *Step, mounts []corev1.VolumeMount) (corev1.Container, error) {
	if s.Spec.Image == "" {
		return corev1.Container{}, fmt.Errorf("function %s: spec.image: is required", s.Function)
	}
	c := corev1.Container{
		Name: s.Name, Image: s.Spec.Image, Command: s.Spec.Command, Args: s.Spec.Args, WorkingDir: s.Spec.WorkingDir, Ports: s.Spec.Ports,
		VolumeMounts: slices.Clone(s.Spec.VolumeMounts), VolumeDevices: s.Spec.VolumeDevices,
		// The last line that a failed command prints says why: the operator finds it here.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	for _, m := range mounts {
		if !slices.ContainsFunc(c.VolumeMounts, func(own corev1.VolumeMount) bool { return own.MountPath == m.MountPath }) {
			c.VolumeMounts = append(c.VolumeMounts, m)
		}
	}
	// What the BackupConfiguration says comes before what the Function says.
	for _, r := range []*ContainerRuntimeSettings{p.target.runtime.Container, s.Spec.RuntimeSettings} {
		if r != nil {
			r.apply(&c)
		}
	}
	if c.SecurityContext == nil {
		c.SecurityContext = &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false),
			Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		}
	}
	return c, nil
}

// apply sets what the container does not have yet.
func (r *ContainerRuntimeSettings) apply(c *corev1.Container) {
	own := r.DeepCopy()
	if c.Resources.Limits == nil && c.Resources.Requests == nil && c.Resources.Claims == nil {
		c.Resources = own.Resources
	}
	c.LivenessProbe = cmp.Or(c.LivenessProbe, own.LivenessProbe)
	c.ReadinessProbe = cmp.Or(c.ReadinessProbe, own.ReadinessProbe)
	c.Lifecycle = cmp.Or(c.Lifecycle, own.Lifecycle)
	c.SecurityContext = cmp.Or(c.SecurityContext, own.SecurityContext)
	env := own.Env
	number := func(name string, n *int32) {
		if n != nil {
			env = append(env, corev1.EnvVar{Name: name, Value: strconv.Itoa(int(*n))})
		}
	}
	if own.Nice != nil {
		number("NICE_ADJUSTMENT", own.Nice.Adjustment)
	}
	if own.IONice != nil {
		number("IONICE_CLASS", own.IONice.Class)
		number("IONICE_CLASS_DATA", own.IONice.ClassData)
	}
	for _, v := range env {
		if !slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool { return e.Name == v.Name }) {
			c.Env = append(c.Env, v)
		}
	}
	c.EnvFrom = append(c.EnvFrom, own.EnvFrom...)
}

// podSettings puts the runtime settings into the pod, and gives the labels and annotations for it.
func (p *Plan) podSettings(pod *corev1.PodSpec) (labels, annotations map[string]string) {
	labels = map[string]string{}
	if r := p.target.runtime.Pod.DeepCopy(); r != nil {
		maps.Copy(labels, r.PodLabels)
		annotations = r.PodAnnotations
		pod.NodeSelector, pod.NodeName, pod.Affinity, pod.Tolerations = r.NodeSelector, r.NodeName, r.Affinity, r.Tolerations
		pod.ServiceAccountName = cmp.Or(r.ServiceAccountName, pod.ServiceAccountName)
		pod.AutomountServiceAccountToken = r.AutomountServiceAccountToken
		pod.SecurityContext, pod.ImagePullSecrets = r.SecurityContext, r.ImagePullSecrets
		pod.SchedulerName, pod.PriorityClassName, pod.Priority = r.SchedulerName, r.PriorityClassName, r.Priority
		pod.ReadinessGates, pod.RuntimeClassName, pod.EnableServiceLinks = r.ReadinessGates, r.RuntimeClassName, r.EnableServiceLinks
		pod.TopologySpreadConstraints = r.TopologySpreadConstraints
	}
	maps.Copy(labels, p.Labels())
	if pod.SecurityContext == nil {
		pod.SecurityContext = &corev1.PodSecurityContext{
			RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To[int64](nobody), RunAsGroup: ptr.To[int64](nobody), FSGroup: ptr.To[int64](nobody),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		}
	}
	return labels, annotations
}
