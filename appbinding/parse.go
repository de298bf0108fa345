package appbinding

import (
	"errors"
	"fmt"
	"net/url"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/escrow-backup/escrow/internal/manifest"
)

// Parse reads an AppBinding from YAML or JSON and validates it.
//
// A field that this package does not know is reported with an error for which runtime.IsStrictDecodingError is true; the
// AppBinding is then returned too, complete but for that field, and the caller decides. Every other error comes
// with nil.
func Parse(data []byte) (*AppBinding, error) {
	b := new(AppBinding)
	err := manifest.Parse(data, GroupVersion.WithKind(Kind), b, new(AppBinding))
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, err
	}
	return b, err
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (b *AppBinding) Validate() error {
	var errs []error
	bad := func(field, format string, args ...any) {
		errs = append(errs, fmt.Errorf("%v: %s: %s", b, field, fmt.Sprintf(format, args...)))
	}
	if b.Name == "" {
		bad("metadata.name", "is required")
	}
	c := b.Spec.ClientConfig
	switch {
	case c.URL == nil && c.Service == nil:
		bad("spec.clientConfig", "one of url and service is required")
	case c.URL != nil && c.Service != nil:
		bad("spec.clientConfig", "url and service exclude each other")
	case c.URL != nil:
		if _, err := parseURL(*c.URL); err != nil {
			bad("spec.clientConfig.url", "%v", err)
		}
	default:
		s := c.Service
		if s.Scheme != "" && s.Scheme != "http" && s.Scheme != "https" {
			bad("spec.clientConfig.service.scheme", "%q is neither http nor https", s.Scheme)
		}
		if s.Name == "" {
			bad("spec.clientConfig.service.name", "is required")
		}
		if s.Port < 0 || s.Port > 65535 {
			bad("spec.clientConfig.service.port", "%d is not a port", s.Port)
		}
		if _, err := url.ParseQuery(s.Query); err != nil {
			bad("spec.clientConfig.service.query", "is not a query")
		}
	}
	if len(c.CABundle) > 0 {
		if _, err := certPool(c.CABundle); err != nil {
			bad("spec.clientConfig.caBundle", "%v", err)
		}
	}
	ref := func(field string, r *SecretReference) {
		if r == nil {
			return
		}
		if r.APIGroup != "" || r.Kind != "" && r.Kind != "Secret" {
			bad(field, "%s %s is not a Secret", r.APIGroup, r.Kind)
		}
		if r.Name == "" {
			bad(field+".name", "is required")
		}
	}
	ref("spec.secret", b.Spec.Secret)
	ref("spec.tlsSecret", b.Spec.TLSSecret)
	for i, t := range b.Spec.SecretTransforms {
		field := fmt.Sprintf("spec.secretTransforms[%d]", i)
		n := 0
		if t.RenameKey != nil {
			n++
			if t.RenameKey.From == "" || t.RenameKey.To == "" {
				bad(field+".renameKey", "from and to are required")
			}
		}
		if t.AddKey != nil {
			n++
			if t.AddKey.Key == "" {
				bad(field+".addKey.key", "is required")
			}
		}
		if t.AddKeysFrom != nil {
			n++
			if t.AddKeysFrom.SecretRef == nil {
				bad(field+".addKeysFrom.secretRef", "is required")
			}
			ref(field+".addKeysFrom.secretRef", t.AddKeysFrom.SecretRef)
		}
		if t.RemoveKey != nil {
			n++
			if t.RemoveKey.Key == "" {
				bad(field+".removeKey.key", "is required")
			}
		}
		if n != 1 {
			bad(field, "has %d of renameKey, addKey, addKeysFrom and removeKey, wants one", n)
		}
	}
	return errors.Join(errs...)
}
