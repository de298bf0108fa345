package appbinding

import (
	"bytes"

	"k8s.io/apimachinery/pkg/runtime"
)

var (
	_ runtime.Object = (*AppBinding)(nil)
	_ runtime.Object = (*AppBindingList)(nil)
)

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// DeepCopyInto copies b into out, sharing nothing.
func (b *AppBinding) DeepCopyInto(out *AppBinding) {
	out.TypeMeta = b.TypeMeta
	b.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	b.Spec.DeepCopyInto(&out.Spec)
}

// DeepCopy returns a copy that shares nothing with b.
func (b *AppBinding) DeepCopy() *AppBinding {
	if b == nil {
		return nil
	}
	out := new(AppBinding)
	b.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (b *AppBinding) DeepCopyObject() runtime.Object {
	if b == nil {
		return nil
	}
	return b.DeepCopy()
}

// DeepCopyInto copies l into out, sharing nothing.
func (l *AppBindingList) DeepCopyInto(out *AppBindingList) {
	out.TypeMeta = l.TypeMeta
	l.ListMeta.DeepCopyInto(&out.ListMeta)
	out.Items = nil
	if l.Items != nil {
		out.Items = make([]AppBinding, len(l.Items))
		for i := range l.Items {
			l.Items[i].DeepCopyInto(&out.Items[i])
		}
	}
}

// DeepCopy returns a copy that shares nothing with l.
func (l *AppBindingList) DeepCopy() *AppBindingList {
	if l == nil {
		return nil
	}
	out := new(AppBindingList)
	l.DeepCopyInto(out)
	return out
}

// DeepCopyObject implements runtime.Object.
func (l *AppBindingList) DeepCopyObject() runtime.Object {
	if l == nil {
		return nil
	}
	return l.DeepCopy()
}

// DeepCopyInto copies s into out, sharing nothing.
func (s *AppBindingSpec) DeepCopyInto(out *AppBindingSpec) {
	*out = *s
	out.AppRef = clone(s.AppRef)
	s.ClientConfig.DeepCopyInto(&out.ClientConfig)
	out.Secret = clone(s.Secret)
	out.TLSSecret = clone(s.TLSSecret)
	if s.SecretTransforms != nil {
		out.SecretTransforms = make([]SecretTransform, len(s.SecretTransforms))
		for i := range s.SecretTransforms {
			s.SecretTransforms[i].DeepCopyInto(&out.SecretTransforms[i])
		}
	}
	out.Parameters = s.Parameters.DeepCopy()
}

// DeepCopyInto copies c into out, sharing nothing.
func (c *ClientConfig) DeepCopyInto(out *ClientConfig) {
	*out = *c
	out.URL = clone(c.URL)
	out.Service = clone(c.Service)
	out.CABundle = bytes.Clone(c.CABundle)
}

// DeepCopyInto copies t into out, sharing nothing.
func (t *SecretTransform) DeepCopyInto(out *SecretTransform) {
	out.RenameKey = clone(t.RenameKey)
	out.RemoveKey = clone(t.RemoveKey)
	out.AddKey = clone(t.AddKey)
	if t.AddKey != nil {
		out.AddKey.Value = bytes.Clone(t.AddKey.Value)
		out.AddKey.StringValue = clone(t.AddKey.StringValue)
	}
	out.AddKeysFrom = clone(t.AddKeysFrom)
	if t.AddKeysFrom != nil {
		out.AddKeysFrom.SecretRef = clone(t.AddKeysFrom.SecretRef)
	}
}
