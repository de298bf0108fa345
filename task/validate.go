package task

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/escrow-backup/escrow/repository"
)

func describe(kind, namespace, name string) string {
	if namespace == "" {
		return strings.ToLower(kind) + " " + name
	}
	return strings.ToLower(kind) + " " + namespace + "/" + name
}

// String names the object.
func (f *Function) String() string { return describe(KindFunction, "", f.Name) }

// String names the object.
func (t *Task) String() string { return describe(KindTask, "", t.Name) }

// String names the object.
func (b *BackupConfiguration) String() string {
	return describe(KindBackupConfiguration, b.Namespace, b.Name)
}

// String names the object.
func (s *BackupSession) String() string { return describe(KindBackupSession, s.Namespace, s.Name) }

// String names the object.
func (s *RestoreSession) String() string { return describe(KindRestoreSession, s.Namespace, s.Name) }

// String names the object.
func (b *BackupBlueprint) String() string { return describe(KindBackupBlueprint, "", b.Name) }

// String names the object.
func (b *BackupBatch) String() string { return describe(KindBackupBatch, b.Namespace, b.Name) }

// String names the object.
func (b *RestoreBatch) String() string { return describe(KindRestoreBatch, b.Namespace, b.Name) }

// +kubebuilder:object:generate=false

// checks collects what is wrong with the fields of an object.
type checks struct {
	of   fmt.Stringer
	errs []error
}

func check(of fmt.Stringer, name string) *checks {
	c := &checks{of: of}
	c.required("metadata.name", name)
	return c
}

func (c *checks) bad(field, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("%v: %s: %s", c.of, field, fmt.Sprintf(format, args...)))
}

func (c *checks) required(field, value string) {
	if value == "" {
		c.bad(field, "is required")
	}
}

func (c *checks) atLeast(field string, least, value int64) {
	if value < least {
		c.bad(field, "%d is less than %d", value, least)
	}
}

func (c *checks) err() error { return errors.Join(c.errs...) }

func oneOf[T ~string](c *checks, field string, value T, allowed ...T) {
	if value != "" && !slices.Contains(allowed, value) {
		names := make([]string, len(allowed))
		for i, a := range allowed {
			names[i] = string(a)
		}
		c.bad(field, "%q is none of %s", value, strings.Join(names, ", "))
	}
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (f *Function) Validate() error {
	c := check(f, f.Name)
	for i, m := range f.Spec.VolumeMounts {
		c.required(fmt.Sprintf("spec.volumeMounts[%d].name", i), m.Name)
		c.required(fmt.Sprintf("spec.volumeMounts[%d].mountPath", i), m.MountPath)
	}
	return c.err()
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (t *Task) Validate() error {
	c := check(t, t.Name)
	if len(t.Spec.Steps) == 0 {
		c.bad("spec.steps", "is required")
	}
	for i, s := range t.Spec.Steps {
		c.required(fmt.Sprintf("spec.steps[%d].name", i), s.Name)
		c.params(fmt.Sprintf("spec.steps[%d].params", i), s.Params)
	}
	for i, v := range t.Spec.Volumes {
		c.required(fmt.Sprintf("spec.volumes[%d].name", i), v.Name)
	}
	return c.err()
}

func (c *checks) params(at string, params []Param) {
	seen := map[string]bool{}
	for i, p := range params {
		field := fmt.Sprintf("%s[%d].name", at, i)
		c.required(field, p.Name)
		if p.Name != "" && seen[p.Name] {
			c.bad(field, "%q is there twice", p.Name)
		}
		seen[p.Name] = true
	}
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (b *BackupConfiguration) Validate() error {
	c := check(b, b.Name)
	c.required("spec.repository.name", b.Spec.Repository.Name)
	c.policy("spec", &b.Spec.BackupPolicy)
	c.backupTarget("spec", &b.Spec.BackupTargetSpec)
	return c.err()
}

func (c *checks) policy(at string, p *BackupPolicy) {
	if p.Schedule != "" || p.TimeZone != "" {
		if _, err := ParseSchedule(p.Schedule, p.TimeZone); err != nil {
			c.bad(at+".schedule", "%v", err)
		}
	}
	oneOf(c, at+".driver", p.Driver, DriverRestic, DriverVolumeSnapshotter)
	r := at + ".retentionPolicy."
	c.atLeast(r+"keepLast", repository.KeepAll, p.RetentionPolicy.KeepLast)
	c.atLeast(r+"keepHourly", repository.KeepAll, p.RetentionPolicy.KeepHourly)
	c.atLeast(r+"keepDaily", repository.KeepAll, p.RetentionPolicy.KeepDaily)
	c.atLeast(r+"keepWeekly", repository.KeepAll, p.RetentionPolicy.KeepWeekly)
	c.atLeast(r+"keepMonthly", repository.KeepAll, p.RetentionPolicy.KeepMonthly)
	c.atLeast(r+"keepYearly", repository.KeepAll, p.RetentionPolicy.KeepYearly)
	if p.BackupHistoryLimit != nil {
		c.atLeast(at+".backupHistoryLimit", 0, int64(*p.BackupHistoryLimit))
	}
	if p.TimeOut != nil && p.TimeOut.Duration <= 0 {
		c.bad(at+".timeOut", "%v is no time", p.TimeOut.Duration)
	}
	if p.RetryConfig != nil {
		c.atLeast(at+".retryConfig.maxRetry", 0, int64(p.RetryConfig.MaxRetry))
		if p.RetryConfig.Delay.Duration < 0 {
			c.bad(at+".retryConfig.delay", "%v is negative", p.RetryConfig.Delay.Duration)
		}
	}
	if p.IntegrityCheck != nil {
		if _, err := p.IntegrityCheck.Options(); err != nil {
			c.bad(at+".integrityCheck.readData", "%v", err)
		}
	}
}

func (c *checks) backupTarget(at string, t *BackupTargetSpec) {
	c.params(at+".task.params", t.Task.Params)
	if t.Target != nil {
		c.required(at+".target.ref.kind", t.Target.Ref.Kind)
		c.required(at+".target.ref.name", t.Target.Ref.Name)
	}
	c.interim(at+".interimVolumeTemplate", t.InterimVolumeTemplate)
	c.backupHooks(at+".hooks", t.Hooks)
}

func (c *checks) interim(at string, t *PersistentVolumeClaim) {
	if t == nil {
		return
	}
	if len(t.Spec.AccessModes) == 0 {
		c.bad(at+".spec.accessModes", "is required")
	}
	if t.Spec.Resources.Requests.Storage().IsZero() {
		c.bad(at+".spec.resources.requests.storage", "is required")
	}
}

func (c *checks) backupHooks(at string, h *BackupHooks) {
	if h == nil {
		return
	}
	c.handler(at+".preBackup", h.PreBackup)
	c.postHook(at+".postBackup", h.PostBackup)
	c.hooks(at+".before", h.Before)
	c.hooks(at+".after", h.After)
}

func (c *checks) restoreHooks(at string, h *RestoreHooks) {
	if h == nil {
		return
	}
	c.handler(at+".preRestore", h.PreRestore)
	c.postHook(at+".postRestore", h.PostRestore)
	c.hooks(at+".before", h.Before)
	c.hooks(at+".after", h.After)
}

func (c *checks) postHook(at string, h *PostHook) {
	if h == nil {
		return
	}
	c.handler(at, &h.Handler)
	oneOf(c, at+".executionPolicy", h.ExecutionPolicy, ExecuteAlways, ExecuteOnSuccess, ExecuteOnFailure)
}

func (c *checks) hooks(at string, hooks []Hook) {
	for i, h := range hooks {
		field := fmt.Sprintf("%s[%d]", at, i)
		c.postHook(field, &PostHook{Handler: h.Handler, ExecutionPolicy: h.ExecutionPolicy})
		c.atLeast(field+".timeoutSeconds", 0, int64(h.TimeoutSeconds))
	}
}

func (c *checks) handler(at string, h *Handler) {
	if h == nil {
		return
	}
	n := 0
	if h.Exec != nil {
		n++
		if len(h.Exec.Command) == 0 {
			c.bad(at+".exec.command", "is required")
		}
	}
	if h.HTTPGet != nil {
		n++
		c.port(at+".httpGet.port", h.HTTPGet.Port)
	}
	if h.HTTPPost != nil {
		n++
		c.port(at+".httpPost.port", h.HTTPPost.Port)
		if h.HTTPPost.Body != "" && len(h.HTTPPost.Form) > 0 {
			c.bad(at+".httpPost", "body and form exclude each other")
		}
		for i, header := range h.HTTPPost.HTTPHeaders {
			if http.CanonicalHeaderKey(header.Name) == "" {
				c.bad(fmt.Sprintf("%s.httpPost.httpHeaders[%d].name", at, i), "is required")
			}
		}
	}
	if h.TCPSocket != nil {
		n++
		c.port(at+".tcpSocket.port", h.TCPSocket.Port)
	}
	if n != 1 {
		c.bad(at, "has %d of exec, httpGet, httpPost and tcpSocket, wants one", n)
	}
	if err := h.checkTemplates(); err != nil {
		c.bad(at, "%v", err)
	}
}

func (c *checks) port(field string, p intstr.IntOrString) {
	if p.Type == intstr.String && p.StrVal == "" || p.Type == intstr.Int && (p.IntVal < 1 || p.IntVal > 65535) {
		c.bad(field, "%q is not a port", p.String())
	}
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (s *BackupSession) Validate() error {
	c := check(s, s.Name)
	c.required("spec.invoker.name", s.Spec.Invoker.Name)
	switch s.Spec.Invoker.Kind {
	case KindBackupConfiguration, KindBackupBatch:
	default:
		c.bad("spec.invoker.kind", "%q is neither %s nor %s", s.Spec.Invoker.Kind, KindBackupConfiguration, KindBackupBatch)
	}
	c.atLeast("spec.retryLeft", 0, int64(s.Spec.RetryLeft))
	return c.err()
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (s *RestoreSession) Validate() error {
	c := check(s, s.Name)
	c.required("spec.repository.name", s.Spec.Repository.Name)
	oneOf(c, "spec.driver", s.Spec.Driver, DriverRestic, DriverVolumeSnapshotter)
	if s.Spec.TimeOut != nil && s.Spec.TimeOut.Duration <= 0 {
		c.bad("spec.timeOut", "%v is no time", s.Spec.TimeOut.Duration)
	}
	c.restoreTarget("spec", &s.Spec.RestoreTargetSpec)
	return c.err()
}

func (c *checks) restoreTarget(at string, t *RestoreTargetSpec) {
	c.params(at+".task.params", t.Task.Params)
	if t.Target == nil {
		c.bad(at+".target", "is required")
	} else {
		c.required(at+".target.ref.kind", t.Target.Ref.Kind)
		c.required(at+".target.ref.name", t.Target.Ref.Name)
		c.rules(at+".target.rules", t.Target.Rules)
	}
	c.interim(at+".interimVolumeTemplate", t.InterimVolumeTemplate)
	c.restoreHooks(at+".hooks", t.Hooks)
}

func (c *checks) rules(at string, rules []Rule) {
	named := map[string]bool{}
	open := false
	for i, r := range rules {
		field := fmt.Sprintf("%s[%d]", at, i)
		if len(r.TargetHosts) == 0 {
			if open {
				c.bad(field+".targetHosts", "is required: an earlier rule is for all other hosts")
			}
			open = true
		}
		for _, h := range r.TargetHosts {
			if named[h] {
				c.bad(field+".targetHosts", "%q has a rule already", h)
			}
			named[h] = true
		}
		if len(r.Snapshots) > 0 && len(r.Paths) > 0 {
			c.bad(field, "snapshots and paths exclude each other")
		}
	}
}

// Validate returns an error that names every field that cannot be used, each on a line of its own. The backend is
// judged when variables are replaced: see package session.
func (b *BackupBlueprint) Validate() error {
	c := check(b, b.Name)
	if b.Spec.Backend.Provider() == "" {
		c.bad("spec.backend", "is required")
	}
	if b.Spec.Target != nil {
		c.bad("spec.target", "is what has the annotation, and cannot be given")
	}
	c.policy("spec", &b.Spec.BackupPolicy)
	c.backupTarget("spec", &b.Spec.BackupTargetSpec)
	return c.err()
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (b *BackupBatch) Validate() error {
	c := check(b, b.Name)
	c.required("spec.repository.name", b.Spec.Repository.Name)
	c.policy("spec", &b.Spec.BackupPolicy)
	oneOf(c, "spec.executionOrder", b.Spec.ExecutionOrder, Parallel, Sequential)
	c.backupHooks("spec.hooks", b.Spec.Hooks)
	if len(b.Spec.Members) == 0 {
		c.bad("spec.members", "is required")
	}
	aliases := map[string]int{}
	for i := range b.Spec.Members {
		m := &b.Spec.Members[i]
		at := fmt.Sprintf("spec.members[%d]", i)
		c.backupTarget(at, m)
		if m.Target == nil {
			c.bad(at+".target", "is required")
			continue
		}
		c.alias(at, m.Target.Alias, i, aliases)
	}
	return c.err()
}

// alias refuses that two members are one host, whose snapshots and metrics would be taken for each other's.
func (c *checks) alias(at, alias string, i int, seen map[string]int) {
	alias = Host(alias)
	if other, found := seen[alias]; found {
		c.bad(at+".target.alias", "%q is that of members[%d]", alias, other)
		return
	}
	seen[alias] = i
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (b *RestoreBatch) Validate() error {
	c := check(b, b.Name)
	c.required("spec.repository.name", b.Spec.Repository.Name)
	oneOf(c, "spec.driver", b.Spec.Driver, DriverRestic, DriverVolumeSnapshotter)
	oneOf(c, "spec.executionOrder", b.Spec.ExecutionOrder, Parallel, Sequential)
	if b.Spec.TimeOut != nil && b.Spec.TimeOut.Duration <= 0 {
		c.bad("spec.timeOut", "%v is no time", b.Spec.TimeOut.Duration)
	}
	c.restoreHooks("spec.hooks", b.Spec.Hooks)
	if len(b.Spec.Members) == 0 {
		c.bad("spec.members", "is required")
	}
	aliases := map[string]int{}
	for i := range b.Spec.Members {
		m := &b.Spec.Members[i]
		at := fmt.Sprintf("spec.members[%d]", i)
		c.restoreTarget(at, m)
		if m.Target != nil {
			c.alias(at, m.Target.Alias, i, aliases)
		}
	}
	return c.err()
}

// Host is the host name of the snapshots of a target with the alias: itself, or "host-0".
func Host(alias string) string {
	if alias == "" {
		return "host-0"
	}
	return alias
}

// Options are how the repository is checked. ReadData "" reads nothing.
func (i *IntegrityCheck) Options() (*repository.CheckOptions, error) {
	o := &repository.CheckOptions{}
	switch i.ReadData {
	case "":
	case "all":
		o.ReadData = true
	default:
		subset, err := repository.ParseSubset(i.ReadData)
		if err != nil {
			return nil, err
		}
		o.ReadSubset = subset
	}
	return o, nil
}

// Due reports whether the check is to be made after the backup that gave the repository so many snapshots in all.
func (i *IntegrityCheck) Due(backups int64) bool {
	switch {
	case i == nil || i.Every == 0 || i.Every == 1:
		return true
	case i.Every < 0:
		return false
	}
	return backups%int64(i.Every) == 0
}

// Policy is what the rules are for package repository.
func (r *RetentionPolicy) Policy() repository.Policy {
	p := repository.Policy{
		Last: int(r.KeepLast), Hourly: int(r.KeepHourly), Daily: int(r.KeepDaily),
		Weekly: int(r.KeepWeekly), Monthly: int(r.KeepMonthly), Yearly: int(r.KeepYearly),
	}
	for _, t := range r.KeepTags {
		p.Tags = append(p.Tags, repository.ParseTagList(t))
	}
	return p
}
