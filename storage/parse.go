package storage

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/escrow-backup/escrow/internal/manifest"
)

// Parse reads a Repository from YAML or JSON and validates it.
//
// A field that this package does not know is reported with an error for which runtime.IsStrictDecodingError is true; the
// Repository is then returned too, complete but for that field, and the caller decides. Every other error comes with nil.
func Parse(data []byte) (*Repository, error) {
	r := new(Repository)
	err := manifest.Parse(data, GroupVersion.WithKind(Kind), r, new(Repository))
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, err
	}
	return r, err
}

// Validate returns an error that names every field that cannot be used, each on a line of its own.
func (r *Repository) Validate() error {
	v := validation{r: r}
	if r.Name == "" {
		v.bad("metadata.name", "is required")
	}
	v.backend(r.Spec.Backend)
	if p := r.Spec.UsagePolicy; p != nil {
		v.namespaces("spec.usagePolicy.allowedNamespaces", p.AllowedNamespaces)
	}
	return errors.Join(v.errs...)
}

type validation struct {
	r    *Repository
	errs []error
}

func (v *validation) bad(field, format string, args ...any) {
	v.errs = append(v.errs, fmt.Errorf("%v: %s: %s", v.r, field, fmt.Sprintf(format, args...)))
}

func (v *validation) backend(b Backend) {
	const at = "spec.backend"
	var places []string
	if b.Local != nil {
		places = append(places, "local")
		v.local(at+".local", b.Local)
	}
	if b.S3 != nil {
		places = append(places, "s3")
		v.bucket(at+".s3", "bucket", b.S3.Bucket, 0)
		v.endpoint(at+".s3.endpoint", b.S3.Endpoint)
	}
	if b.GCS != nil {
		places = append(places, "gcs")
		v.bucket(at+".gcs", "bucket", b.GCS.Bucket, b.GCS.MaxConnections)
	}
	if b.Azure != nil {
		places = append(places, "azure")
		v.bucket(at+".azure", "container", b.Azure.Container, b.Azure.MaxConnections)
	}
	if b.Swift != nil {
		places = append(places, "swift")
		v.bucket(at+".swift", "container", b.Swift.Container, 0)
	}
	if b.B2 != nil {
		places = append(places, "b2")
		v.bucket(at+".b2", "bucket", b.B2.Bucket, b.B2.MaxConnections)
	}
	if b.Rest != nil {
		places = append(places, "rest")
		if b.Rest.URL == "" {
			v.bad(at+".rest.url", "is required")
		} else {
			v.endpoint(at+".rest.url", b.Rest.URL)
		}
	}
	if b.SFTP != nil {
		places = append(places, "sftp")
		v.sftp(at+".sftp", b.SFTP)
	}
	switch {
	case len(places) == 0:
		v.bad(at, "one of local, s3, gcs, azure, swift, b2, rest and sftp is required")
	case len(places) > 1:
		v.bad(at, "%s exclude each other", strings.Join(places, " and "))
	}
}

func (v *validation) local(at string, l *LocalSpec) {
	switch {
	case l.MountPath == "":
		v.bad(at+".mountPath", "is required")
	case !path.IsAbs(l.MountPath):
		v.bad(at+".mountPath", "%q is not absolute", l.MountPath)
	case strings.Contains(l.MountPath, ":"):
		v.bad(at+".mountPath", "%q contains a colon", l.MountPath)
	}
	if path.IsAbs(l.SubPath) || l.SubPath == ".." || strings.HasPrefix(path.Clean(l.SubPath), "../") {
		v.bad(at+".subPath", "%q does not lie within the volume", l.SubPath)
	}
}

// bucket checks the name: what ends it in the URL that is made of it must not be in it.
func (v *validation) bucket(at, field, name string, connections int64) {
	switch {
	case name == "":
		v.bad(at+"."+field, "is required")
	case strings.ContainsAny(name, ":/?# "):
		v.bad(at+"."+field, "%q is not a name", name)
	}
	if connections < 0 || connections > 1000 {
		v.bad(at+".maxConnections", "%d is not between 0 and 1000", connections)
	}
}

// endpoint checks a host or a URL. It is not quoted: a password may be in it.
func (v *validation) endpoint(at, s string) {
	if s == "" {
		return
	}
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	switch u, err := url.Parse(s); {
	case err != nil || u.Host == "":
		v.bad(at, "is not a URL with a host")
	case u.Scheme != "http" && u.Scheme != "https":
		v.bad(at, "%q is neither http nor https", u.Scheme)
	case u.RawQuery != "" || u.Fragment != "":
		v.bad(at, "has a query or a fragment")
	}
}

func (v *validation) sftp(at string, s *SFTPSpec) {
	for field, value := range map[string]string{"host": s.Host, "user": s.User, "path": s.Path} {
		if value == "" && field != "user" {
			v.bad(at+"."+field, "is required")
		}
		if field != "path" && strings.ContainsAny(value, "@/: ") {
			v.bad(at+"."+field, "%q is not a name", value)
		}
	}
	if s.Port < 0 || s.Port > 65535 {
		v.bad(at+".port", "%d is not a port", s.Port)
	}
}

func (v *validation) namespaces(at string, a AllowedNamespaces) {
	switch from := a.from(); from {
	case NamespacesFromAll, NamespacesFromSame:
		if a.Selector != nil {
			v.bad(at+".selector", "is not used where from is %s", from)
		}
	case NamespacesFromSelector:
		if a.Selector == nil {
			v.bad(at+".selector", "is required where from is Selector")
		} else if _, err := metav1.LabelSelectorAsSelector(a.Selector); err != nil {
			v.bad(at+".selector", "%v", err)
		}
	default:
		v.bad(at+".from", "%q is none of All, Same and Selector", from)
	}
}
