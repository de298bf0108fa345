package storage

import (
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
)

var (
	_ runtime.Object = (*Repository)(nil)
	_ runtime.Object = (*RepositoryList)(nil)
)

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// DeepCopyInto copies r into out, sharing nothing.
func (r *Repository) DeepCopyInto(out *Repository) {
	out.TypeMeta = r.TypeMeta
	r.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	r.Spec.DeepCopyInto(&out.Spec)
	r.Status.DeepCopyInto(&out.Status)
}

// DeepCopy returns a copy that shares nothing with r.
func (r *Repository) DeepCopy() *Repository {
	if r == nil {
		return nil
	}
	out := new(Repository)
	r.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (r *Repository) DeepCopyObject() runtime.Object {
	if r == nil {
		return nil
	}
	return r.DeepCopy()
}

// DeepCopyInto copies l into out, sharing nothing.
func (l *RepositoryList) DeepCopyInto(out *RepositoryList) {
	out.TypeMeta = l.TypeMeta
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = nil
	if l.Items != nil {
		out.Items = make([]Repository, len(l.Items))
		for i := range l.Items {
			l.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
}

// DeepCopy returns a copy that shares nothing with l.
func (l *RepositoryList) DeepCopy() *RepositoryList {
	if l == nil {
		return nil
	}
	out := new(RepositoryList)
	l.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (l *RepositoryList) DeepCopyObject() runtime.Object {
	if l == nil {
		return nil
	}
	return l.DeepCopy()
}

// DeepCopyInto copies s into out, sharing nothing.
func (s *RepositorySpec) DeepCopyInto(out *RepositorySpec) {
	*out = *s
	s.Backend.DeepCopyInto(&out.Backend)
	out.UsagePolicy = clone(s.UsagePolicy)
	if s.UsagePolicy != nil {
		out.UsagePolicy.AllowedNamespaces.From = clone(s.UsagePolicy.AllowedNamespaces.From)
		out.UsagePolicy.AllowedNamespaces.Selector = s.UsagePolicy.AllowedNamespaces.Selector.DeepCopy()
	}
}

// DeepCopyInto copies b into out, sharing nothing.
func (b *Backend) DeepCopyInto(out *Backend) {
	out.StorageSecretName = b.StorageSecretName
	out.Local = clone(b.Local)
	if b.Local != nil {
		b.Local.VolumeSource.DeepCopyInto(&out.Local.VolumeSource)
	}
	out.S3, out.GCS, out.Azure, out.Swift = clone(b.S3), clone(b.GCS), clone(b.Azure), clone(b.Swift)
	out.B2, out.Rest, out.SFTP = clone(b.B2), clone(b.Rest), clone(b.SFTP)
}

// DeepCopyInto copies s into out, sharing nothing.
func (s *RepositoryStatus) DeepCopyInto(out *RepositoryStatus) {
	*out = *s
	out.FirstBackupTime = s.FirstBackupTime.DeepCopy()
	out.LastBackupTime = s.LastBackupTime.DeepCopy()
	out.Integrity = clone(s.Integrity)
	out.References = slices.Clone(s.References)
}
