package s3

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/escrow-backup/escrow/repository/backend"
	"github.com/escrow-backup/escrow/repository/backend/web"
)

// authenticate sets creds, ambient and redact from what s says.
func (b *Backend) authenticate(s *backend.Settings) error {
	b.redact = strings.NewReplacer()
	if b.cfg.Anonymous {
		return nil
	}
	id, secret, token := s.Value("AWS_ACCESS_KEY_ID"), s.Value("AWS_SECRET_ACCESS_KEY"), s.Value("AWS_SESSION_TOKEN")
	switch {
	case id != "" && secret != "":
		b.creds = credentials.NewStaticV4(id, secret, token)
		shown := []string{id, "[key id]", secret, "[secret]"}
		if token != "" {
			shown = append(shown, token, "[token]")
		}
		// A server, or what stands in for it, may repeat in its message what it was sent.
		b.redact = strings.NewReplacer(shown...)
	case id != "":
		return errors.New("AWS_ACCESS_KEY_ID is set, AWS_SECRET_ACCESS_KEY is not")
	case secret != "":
		return errors.New("AWS_SECRET_ACCESS_KEY is set, AWS_ACCESS_KEY_ID is not")
	default:
		b.creds, b.ambient = credentials.New(newAmbient(s, b.region)), true
	}
	return nil
}

// ambient asks the places where a pod or a machine finds its identity. minio-go calls it from one goroutine at a time.
type ambient struct {
	places []source
	found  credentials.Provider // the place that gave credentials last
}

type source struct {
	name string
	credentials.Provider
}

func newAmbient(s *backend.Settings, region string) *ambient {
	// What the cluster gives a pod is in the environment, also where the settings come from elsewhere.
	var environment backend.Settings
	value := func(key string) string {
		if v := s.Value(key); v != "" {
			return v
		}
		return environment.Value(key)
	}
	identity := &credentials.IAM{Region: region}
	identity.EKSIdentity.TokenFile = value("AWS_WEB_IDENTITY_TOKEN_FILE")
	identity.EKSIdentity.RoleARN = value("AWS_ROLE_ARN")
	identity.EKSIdentity.RoleSessionName = value("AWS_ROLE_SESSION_NAME")
	identity.Container.CredentialsFullURI = value("AWS_CONTAINER_CREDENTIALS_FULL_URI")
	identity.Container.CredentialsRelativeURI = value("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
	identity.Container.AuthorizationToken = value("AWS_CONTAINER_AUTHORIZATION_TOKEN")
	if identity.EKSIdentity.TokenFile != "" {
		identity.Endpoint = value("AWS_ENDPOINT_URL_STS")
	} else {
		// The metadata of a task or a machine is on a link-local address: no proxy leads there, and elsewhere nobody answers.
		identity.Client = &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			DialContext:       (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
			DisableKeepAlives: true,
		}}
	}
	return &ambient{places: []source{
		{"the shared credentials file", &credentials.FileAWSCredentials{
			Filename: value("AWS_SHARED_CREDENTIALS_FILE"), Profile: value("AWS_PROFILE"),
		}},
		{"the identity of pod, task or machine", identity},
	}}
}

// RetrieveWithCredContext implements credentials.Provider.
func (a *ambient) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	errs := make([]error, 0, len(a.places))
	for _, p := range a.places {
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			a.found = p.Provider
			return v, nil
		}
		if err == nil {
			err = errors.New("has none")
		}
		errs = append(errs, fmt.Errorf("%s: %w", p.name, web.WithoutURL(err)))
	}
	if a.found != nil {
		return credentials.Value{}, fmt.Errorf("renew credentials: %w; %w", errs[0], errs[1])
	}
	return credentials.Value{}, fmt.Errorf("no credentials: AWS_ACCESS_KEY_ID is not set; %w; %w: %w", errs[0], errs[1], fs.ErrPermission)
}

// Retrieve implements credentials.Provider.
func (a *ambient) Retrieve() (credentials.Value, error) { return a.RetrieveWithCredContext(nil) }

// IsExpired implements credentials.Provider.
func (a *ambient) IsExpired() bool { return a.found == nil || a.found.IsExpired() }
