package task

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/storage"
)

// +kubebuilder:object:generate=false

// Invocation is one use of a Task: for the target of a session, or for one of them.
type Invocation struct {
	// Session is a *BackupSession, *RestoreSession or *RestoreBatch.
	Session Object
	// Invoker of a BackupSession is a *BackupConfiguration or *BackupBatch. For a restore it is the Session itself, and may be nil.
	Invoker Object
	// Member is the position of the target in a batch.
	Member int

	Repository *storage.Repository
	// AppBinding is the target, if it is one.
	AppBinding *appbinding.AppBinding

	// Images of the Functions: ADDON_IMAGE, STASH_DOCKER_REGISTRY, STASH_DOCKER_IMAGE and STASH_IMAGE_TAG.
	AddonImage, DockerRegistry, DockerImage, ImageTag string
	// ServiceAccount of the pod, unless the runtime settings name one.
	ServiceAccount string
	// Pushgateway is the URL for metrics; empty: none are pushed.
	Pushgateway string
	// EphemeralVolume makes the interim volume a part of the pod, rather than a PersistentVolumeClaim of the session.
	EphemeralVolume bool

	// Variables come before those that follow from the objects, and after the params of the TaskRef.
	Variables Variables
}

// +kubebuilder:object:generate=false

// target is what a backup and a restore have in common.
type target struct {
	restore bool
	kind    string // of the invoker
	name    string
	task    TaskRef
	alias   string
	ref     TargetRef
	paths   []string
	exclude []string
	args    []string
	runtime RuntimeSettings
	tempDir EmptyDirSettings
	interim *PersistentVolumeClaim
	policy  *BackupPolicy
	rule    Rule
	hooked  [2]bool // before, after
	timeout *metav1.Duration
}

func (in *Invocation) target() (*target, error) {
	switch s := in.Session.(type) {
	case *BackupSession:
		return in.backupTarget()
	case *RestoreSession:
		t, err := restoreTarget(&s.Spec.RestoreTargetSpec)
		if err != nil {
			return nil, err
		}
		t.kind, t.name, t.timeout = KindRestoreSession, s.Name, s.Spec.TimeOut
		return t, nil
	case *RestoreBatch:
		if in.Member < 0 || in.Member >= len(s.Spec.Members) {
			return nil, fmt.Errorf("it has no member %d", in.Member)
		}
		t, err := restoreTarget(&s.Spec.Members[in.Member])
		if err != nil {
			return nil, err
		}
		t.kind, t.name, t.timeout = KindRestoreBatch, s.Name, s.Spec.TimeOut
		return t, nil
	}
	return nil, fmt.Errorf("a %T is no session", in.Session)
}

func (in *Invocation) backupTarget() (*target, error) {
	var spec *BackupTargetSpec
	t := &target{}
	switch b := in.Invoker.(type) {
	case *BackupConfiguration:
		spec, t.policy = &b.Spec.BackupTargetSpec, &b.Spec.BackupPolicy
		t.kind, t.name = KindBackupConfiguration, b.Name
	case *BackupBatch:
		if in.Member < 0 || in.Member >= len(b.Spec.Members) {
			return nil, fmt.Errorf("%v has no member %d", b, in.Member)
		}
		spec, t.policy = &b.Spec.Members[in.Member], &b.Spec.BackupPolicy
		t.kind, t.name = KindBackupBatch, b.Name
	default:
		return nil, fmt.Errorf("a %T is no invoker", in.Invoker)
	}
	t.task, t.runtime, t.tempDir, t.interim = spec.Task, spec.RuntimeSettings, spec.TempDir, spec.InterimVolumeTemplate
	t.timeout = t.policy.TimeOut
	if spec.Target != nil {
		t.alias, t.ref, t.paths, t.exclude, t.args = spec.Target.Alias, spec.Target.Ref, spec.Target.Paths, spec.Target.Exclude, spec.Target.Args
	}
	if h := spec.Hooks; h != nil {
		t.hooked = [2]bool{h.PreBackup != nil || len(h.Before) > 0, h.PostBackup != nil || len(h.After) > 0}
	}
	return t, nil
}

func restoreTarget(spec *RestoreTargetSpec) (*target, error) {
	t := &target{restore: true, task: spec.Task, runtime: spec.RuntimeSettings, tempDir: spec.TempDir, interim: spec.InterimVolumeTemplate}
	if spec.Target == nil {
		return nil, errors.New("spec.target: is required")
	}
	t.alias, t.ref, t.args = spec.Target.Alias, spec.Target.Ref, spec.Target.Args
	t.rule = RuleFor(spec.Target.Rules, Host(t.alias))
	t.paths, t.exclude = t.rule.Paths, t.rule.Exclude
	if h := spec.Hooks; h != nil {
		t.hooked = [2]bool{h.PreRestore != nil || len(h.Before) > 0, h.PostRestore != nil || len(h.After) > 0}
	}
	return t, nil
}

// RuleFor is the rule that holds for the host: the one that names it, else the one without target hosts, else the latest snapshot of that host.
// What it leaves open is filled in.
func RuleFor(rules []Rule, host string) Rule {
	found := Rule{}
	for _, r := range rules {
		if slices.Contains(r.TargetHosts, host) {
			found = r
			break
		}
		if len(r.TargetHosts) == 0 {
			found = r
		}
	}
	found.SourceHost = cmp.Or(found.SourceHost, host)
	if len(found.Snapshots) == 0 {
		found.Snapshots = []string{"latest"}
	}
	return found
}

// addonTask is the Task that the AppBinding names for those who name none.
func addonTask(b *appbinding.AppBinding, restore bool) (TaskRef, error) {
	if b == nil || b.Spec.Parameters == nil || len(b.Spec.Parameters.Raw) == 0 {
		return TaskRef{}, nil
	}
	var p struct {
		Stash struct {
			Addon struct {
				BackupTask  TaskRef `json:"backupTask"`
				RestoreTask TaskRef `json:"restoreTask"`
			} `json:"addon"`
		} `json:"stash"`
	}
	if err := json.Unmarshal(b.Spec.Parameters.Raw, &p); err != nil {
		return TaskRef{}, fmt.Errorf("%v: spec.parameters: not those of an add-on", b)
	}
	if restore {
		return p.Stash.Addon.RestoreTask, nil
	}
	return p.Stash.Addon.BackupTask, nil
}

// merge gives the params of own, and those of base that own does not have.
func merge(own, base []Param) []Param {
	out := slices.Clone(own)
	for _, p := range base {
		if !slices.ContainsFunc(own, func(o Param) bool { return o.Name == p.Name }) {
			out = append(out, p)
		}
	}
	return out
}

// JobName is the Pushgateway's job for what an invoker does: the same for all its sessions, and for no other invoker.
func JobName(kind, namespace, name string) string {
	return strings.ToLower(kind) + "-" + namespace + "-" + name
}

// variables are those that follow from the objects.
func (in *Invocation) variables(t *target) Variables {
	v := Variables{}
	set := func(name, value string) {
		if value != "" {
			v[name] = value
		}
	}
	set("NAMESPACE", in.Session.GetNamespace())
	if t.restore {
		if t.kind == KindRestoreBatch {
			set("RESTORE_BATCH", in.Session.GetName())
		} else {
			set("RESTORE_SESSION", in.Session.GetName())
		}
		set("SOURCE_HOSTNAME", t.rule.SourceHost)
		set("RESTORE_PATHS", strings.Join(t.rule.Paths, ","))
		set("RESTORE_SNAPSHOTS", strings.Join(t.rule.Snapshots, ","))
		set("INCLUDE_PATTERNS", strings.Join(t.rule.Include, ","))
	} else {
		set("BACKUP_SESSION", in.Session.GetName())
	}
	set("HOSTNAME", Host(t.alias))
	set("INVOKER_KIND", t.kind)
	set("INVOKER_NAME", t.name)
	set("TARGET_API_VERSION", t.ref.APIVersion)
	set("TARGET_KIND", t.ref.Kind)
	set("TARGET_NAME", t.ref.Name)
	set("TARGET_NAMESPACE", cmp.Or(t.ref.Namespace, in.Session.GetNamespace()))
	set("TARGET_PATHS", strings.Join(t.paths, ","))
	set("EXCLUDE_PATTERNS", strings.Join(t.exclude, ","))
	set("DRIVER_ARGS", strings.Join(t.args, " "))
	if len(t.paths) > 0 {
		set("TARGET_MOUNT_PATH", t.paths[0])
	}
	for name, value := range AppVariables(in.AppBinding) {
		set(name, value)
	}
	v["INTERIM_DATA_DIR"] = ""
	if t.interim != nil {
		v["INTERIM_DATA_DIR"] = InterimDataDir
	}
	v["ENABLE_CACHE"] = strconv.FormatBool(!t.tempDir.DisableCaching)
	if in.Repository != nil {
		in.repositoryVariables(set)
	}
	if t.policy != nil {
		r := t.policy.RetentionPolicy
		for name, n := range map[string]int64{"LAST": r.KeepLast, "HOURLY": r.KeepHourly, "DAILY": r.KeepDaily, "WEEKLY": r.KeepWeekly,
			"MONTHLY": r.KeepMonthly, "YEARLY": r.KeepYearly} {
			if n != 0 {
				set("RETENTION_KEEP_"+name, strconv.FormatInt(n, 10))
			}
		}
		if c := t.policy.IntegrityCheck; c != nil {
			set("INTEGRITY_CHECK_EVERY", strconv.Itoa(int(c.Every)))
			set("INTEGRITY_CHECK_READ_DATA", c.ReadData)
		}
		set("RETENTION_KEEP_TAGS", strings.Join(r.KeepTags, ","))
		if r.Prune {
			set("RETENTION_PRUNE", "true")
		}
		if r.DryRun {
			set("RETENTION_DRY_RUN", "true")
		}
	}
	set("PROMETHEUS_PUSHGATEWAY_URL", in.Pushgateway)
	set("PROMETHEUS_JOB_NAME", JobName(t.kind, in.Session.GetNamespace(), t.name))
	set("ADDON_IMAGE", in.AddonImage)
	set("STASH_DOCKER_REGISTRY", in.DockerRegistry)
	set("STASH_DOCKER_IMAGE", in.DockerImage)
	set("STASH_IMAGE_TAG", in.ImageTag)
	for name, value := range in.Variables {
		v[name] = value
	}
	return v
}

// AppVariables are those that describe an AppBinding: TARGET_APP_GROUP, _RESOURCE, _TYPE, _VERSION and _REPLICAS.
func AppVariables(b *appbinding.AppBinding) Variables {
	v := Variables{}
	if b == nil {
		return v
	}
	v["TARGET_APP_TYPE"], v["TARGET_APP_VERSION"] = b.Spec.Type, b.Spec.Version
	if group, resource, found := strings.Cut(b.Spec.Type, "/"); found {
		v["TARGET_APP_GROUP"], v["TARGET_APP_RESOURCE"] = group, resource
	}
	if b.Spec.Parameters != nil {
		var p struct {
			Replicas *int64 `json:"replicas"`
		}
		if json.Unmarshal(b.Spec.Parameters.Raw, &p) == nil && p.Replicas != nil {
			v["TARGET_APP_REPLICAS"] = strconv.FormatInt(*p.Replicas, 10)
		}
	}
	return v
}

func (in *Invocation) repositoryVariables(set func(name, value string)) {
	r := in.Repository
	b := &r.Spec.Backend
	bucket, prefix := b.Location()
	set("REPOSITORY_NAME", r.Name)
	set("REPOSITORY_NAMESPACE", r.Namespace)
	set("REPOSITORY_PROVIDER", b.Provider())
	set("REPOSITORY_SECRET_NAME", b.StorageSecretName)
	if b.StorageSecretName != "" {
		set("REPOSITORY_SECRET_NAMESPACE", r.Namespace)
	}
	set("REPOSITORY_BUCKET", bucket)
	set("REPOSITORY_PREFIX", prefix)
	connections := int64(0)
	switch {
	case b.S3 != nil:
		set("REPOSITORY_ENDPOINT", b.S3.Endpoint)
		set("REPOSITORY_REGION", b.S3.Region)
		if b.S3.InsecureTLS {
			set("REPOSITORY_INSECURE_TLS", "true")
		}
	case b.GCS != nil:
		connections = b.GCS.MaxConnections
	case b.Azure != nil:
		connections = b.Azure.MaxConnections
	case b.B2 != nil:
		connections = b.B2.MaxConnections
	}
	if connections > 0 {
		set("MAX_CONNECTIONS", strconv.FormatInt(connections, 10))
	}
	// The URL of a REST server may hold a password, which must not become an argument of a process.
	if b.Rest == nil || !strings.Contains(b.Rest.URL, "@") {
		set("REPOSITORY_URL", b.URL())
		if b.Rest != nil {
			set("REPOSITORY_ENDPOINT", b.Rest.URL)
		}
	}
}
