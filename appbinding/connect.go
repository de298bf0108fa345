package appbinding

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/elastic/go-elasticsearch/v8"

	"github.com/escrow-backup/escrow/secret"
)

// defaultPort is that of Elasticsearch.
const defaultPort = 9200

// defaultNamespace is what Kubernetes takes for an object without one.
const defaultNamespace = "default"

// Connect returns a client of the cluster that b describes, with the secrets that b names taken from s, which may be nil
// if it names none. See [Config.Connect] for what the client does. Errors name b and the field they come from.
func (b *AppBinding) Connect(ctx context.Context, s secret.Source, o *ConnectOptions) (*elasticsearch.Client, error) {
	c, err := b.Config(ctx, s)
	if err != nil {
		return nil, err
	}
	es, err := c.Connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("%v: spec.clientConfig: %w", b, err)
	}
	return es, nil
}

// Config puts together what b and the secrets that it names say.
func (b *AppBinding) Config(ctx context.Context, s secret.Source) (Config, error) {
	if err := b.Validate(); err != nil {
		return Config{}, err
	}
	fail := func(field string, err error) (Config, error) {
		return Config{}, fmt.Errorf("%v: %s: %w", b, field, err)
	}
	cc := b.Spec.ClientConfig
	c := Config{
		URL:                b.url(),
		CACert:             cc.CABundle,
		ServerName:         cc.ServerName,
		InsecureSkipVerify: cc.InsecureSkipTLSVerify,
	}
	if b.Spec.TLSSecret != nil {
		d, err := b.secret(ctx, s, b.Spec.TLSSecret)
		if err != nil {
			return fail("spec.tlsSecret", err)
		}
		if len(c.CACert) == 0 {
			c.CACert = d["ca.crt"]
		}
		c.Cert, c.Key = d["tls.crt"], d["tls.key"]
		if _, err := c.tls(); err != nil {
			return fail("spec.tlsSecret", err)
		}
	}
	if b.Spec.Secret == nil && len(b.Spec.SecretTransforms) == 0 {
		return c, nil
	}
	d := secret.Data{}
	if b.Spec.Secret != nil {
		from, err := b.secret(ctx, s, b.Spec.Secret)
		if err != nil {
			return fail("spec.secret", err)
		}
		maps.Copy(d, from)
	}
	for i, t := range b.Spec.SecretTransforms {
		if err := b.transform(ctx, s, d, t); err != nil {
			return fail(fmt.Sprintf("spec.secretTransforms[%d]", i), err)
		}
	}
	if err := c.credentials(d); err != nil {
		return fail("spec.secret", err)
	}
	return c, nil
}

// url is the address of a valid AppBinding.
func (b *AppBinding) url() string {
	cc := b.Spec.ClientConfig
	if cc.URL != nil {
		return *cc.URL
	}
	s := cc.Service
	scheme := s.Scheme
	if scheme == "" {
		scheme = "http"
		if len(cc.CABundle) > 0 || cc.ServerName != "" || cc.InsecureSkipTLSVerify || b.Spec.TLSSecret != nil {
			scheme = "https"
		}
	}
	host := s.Name + "." + cmp.Or(s.Namespace, b.Namespace, defaultNamespace) + ".svc"
	u := url.URL{
		Scheme:   scheme,
		Host:     net.JoinHostPort(host, strconv.Itoa(int(cmp.Or(s.Port, defaultPort)))),
		RawQuery: s.Query,
	}
	if path := strings.TrimPrefix(s.Path, "/"); path != "" {
		u.Path = "/" + path
	}
	return u.String()
}

func (b *AppBinding) secret(ctx context.Context, s secret.Source, r *SecretReference) (secret.Data, error) {
	if s == nil {
		return nil, fmt.Errorf("secret %s: no secrets were given to look in", r.Name)
	}
	return s.Secret(ctx, b.Namespace, r.Name)
}

// transform applies a valid step to d.
func (b *AppBinding) transform(ctx context.Context, s secret.Source, d secret.Data, t SecretTransform) error {
	switch {
	case t.RenameKey != nil:
		if v, ok := d[t.RenameKey.From]; ok {
			delete(d, t.RenameKey.From)
			d[t.RenameKey.To] = v
		}
	case t.AddKey != nil:
		d[t.AddKey.Key] = t.AddKey.Value
		if t.AddKey.StringValue != nil {
			d[t.AddKey.Key] = []byte(*t.AddKey.StringValue)
		}
	case t.AddKeysFrom != nil:
		from, err := b.secret(ctx, s, t.AddKeysFrom.SecretRef)
		if err != nil {
			return err
		}
		maps.Copy(d, from)
	case t.RemoveKey != nil:
		delete(d, t.RemoveKey.Key)
	}
	return nil
}

// credentials takes the best that d has.
func (c *Config) credentials(d secret.Data) error {
	if v, ok := d["apiKey"]; ok {
		if strings.TrimSpace(string(v)) == "" {
			return errors.New("key apiKey is empty")
		}
		c.APIKey = string(v)
		return nil
	}
	for _, k := range [][2]string{{"username", "password"}, {"ADMIN_USERNAME", "ADMIN_PASSWORD"}} {
		user, hasUser := d[k[0]]
		password, hasPassword := d[k[1]]
		switch {
		case hasUser && hasPassword:
			c.Username, c.Password = string(user), string(password)
			return nil
		case hasUser:
			return fmt.Errorf("has the key %s, but not %s", k[0], k[1])
		case hasPassword:
			return fmt.Errorf("has the key %s, but not %s", k[1], k[0])
		}
	}
	return errors.New("has none of the keys apiKey, username and password, ADMIN_USERNAME and ADMIN_PASSWORD")
}
