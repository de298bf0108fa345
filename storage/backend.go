package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/escrow-backup/escrow/repository"
	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/secret"
)

// passwordKey of the storage secret.
const passwordKey = "RESTIC_PASSWORD"

// Provider is the kind of place: local, s3, gcs, azure, swift, b2, rest or sftp; empty if none is set.
func (b *Backend) Provider() string {
	switch {
	case b.Local != nil:
		return "local"
	case b.S3 != nil:
		return "s3"
	case b.GCS != nil:
		return "gcs"
	case b.Azure != nil:
		return "azure"
	case b.Swift != nil:
		return "swift"
	case b.B2 != nil:
		return "b2"
	case b.Rest != nil:
		return "rest"
	case b.SFTP != nil:
		return "sftp"
	}
	return ""
}

// Location is the bucket, container, mounted directory or host, and the prefix below it without slashes at its ends.
func (b *Backend) Location() (bucket, prefix string) {
	switch {
	case b.Local != nil:
		return b.Local.MountPath, ""
	case b.S3 != nil:
		bucket, prefix = b.S3.Bucket, b.S3.Prefix
	case b.GCS != nil:
		bucket, prefix = b.GCS.Bucket, b.GCS.Prefix
	case b.Azure != nil:
		bucket, prefix = b.Azure.Container, b.Azure.Prefix
	case b.Swift != nil:
		bucket, prefix = b.Swift.Container, b.Swift.Prefix
	case b.B2 != nil:
		bucket, prefix = b.B2.Bucket, b.B2.Prefix
	case b.SFTP != nil:
		return b.SFTP.Host, b.SFTP.Path
	}
	return bucket, strings.Trim(prefix, "/")
}

// URL is the repository in the form that restic and backend.Mux read. A URL of a REST server may hold a password.
func (b *Backend) URL() string {
	bucket, prefix := b.Location()
	switch b.Provider() {
	case "local":
		return "local:" + bucket
	case "s3":
		endpoint := b.S3.Endpoint
		if endpoint == "" {
			endpoint = "s3.amazonaws.com"
		}
		return strings.TrimSuffix("s3:"+strings.TrimSuffix(endpoint, "/")+"/"+bucket+"/"+prefix, "/")
	case "gcs":
		return "gs:" + bucket + ":/" + prefix
	case "azure":
		return "azure:" + bucket + ":/" + prefix
	case "swift":
		return "swift:" + bucket + ":/" + prefix
	case "b2":
		return strings.TrimSuffix("b2:"+bucket+":"+prefix, ":")
	case "rest":
		return "rest:" + b.Rest.URL
	case "sftp":
		// In this form a second slash begins an absolute path.
		u := url.URL{Scheme: "sftp", Host: b.SFTP.Host, Path: "/" + b.SFTP.Path}
		if b.SFTP.Port != 0 {
			u.Host = net.JoinHostPort(b.SFTP.Host, strconv.Itoa(int(b.SFTP.Port)))
		}
		if b.SFTP.User != "" {
			u.User = url.User(b.SFTP.User)
		}
		return u.String()
	}
	return ""
}

func (b *Backend) settings() *backend.Settings {
	s := &backend.Settings{}
	switch {
	case b.S3 != nil:
		s.Region, s.InsecureTLS = b.S3.Region, b.S3.InsecureTLS
	case b.GCS != nil:
		s.Connections = int(b.GCS.MaxConnections)
	case b.Azure != nil:
		s.Connections = int(b.Azure.MaxConnections)
	case b.B2 != nil:
		s.Connections = int(b.B2.MaxConnections)
	}
	return s
}

// Backend opens the place with a driver of m. Credentials come from the storage secret alone; where it has none, or none is
// named, the driver uses the identity that the machine or the pod has. The caller closes the result.
func (r *Repository) Backend(ctx context.Context, m *backend.Mux, secrets secret.Source) (backend.Backend, error) {
	if err := r.Validate(); err != nil {
		return nil, err
	}
	data, err := r.secret(ctx, secrets)
	if err != nil {
		return nil, err
	}
	s := r.Spec.Backend.settings()
	s.Lookup = func(key string) (string, bool) {
		v, found := data[key]
		return string(v), found
	}
	b, err := m.Open(ctx, r.Spec.Backend.URL(), s)
	if err != nil {
		return nil, fmt.Errorf("%v: %w", r, err)
	}
	return b, nil
}

// Password returns the repository's password, the key RESTIC_PASSWORD of the storage secret.
func (r *Repository) Password(ctx context.Context, secrets secret.Source) (repository.Password, error) {
	data, err := r.secret(ctx, secrets)
	if err != nil {
		return "", err
	}
	if len(data[passwordKey]) == 0 {
		return "", fmt.Errorf("%v: spec.backend.storageSecretName: secret %q has no key %s: %w",
			r, r.Spec.Backend.StorageSecretName, passwordKey, fs.ErrNotExist)
	}
	return repository.Password(data[passwordKey]), nil
}

// secret returns the storage secret, or nothing if none is named.
func (r *Repository) secret(ctx context.Context, secrets secret.Source) (secret.Data, error) {
	name := r.Spec.Backend.StorageSecretName
	if name == "" {
		return nil, nil
	}
	if secrets == nil {
		return nil, fmt.Errorf("%v: spec.backend.storageSecretName: %w", r, errors.New("no source of secrets"))
	}
	data, err := secrets.Secret(ctx, r.Namespace, name)
	if err != nil {
		return nil, fmt.Errorf("%v: spec.backend.storageSecretName: %w", r, err)
	}
	return data, nil
}
