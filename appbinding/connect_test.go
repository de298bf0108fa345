package appbinding_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/secret"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) sign(t *testing.T, name string, ips ...net.IP) (cert, key []byte) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, IPAddresses: ips,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &k.PublicKey, a.key)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	require.NoError(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

// server records the last request.
type server struct {
	*httptest.Server
	last atomic.Pointer[http.Request]
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.last.Store(r)
	w.Header().Set("X-Elastic-Product", "Elasticsearch")
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"version":{"number":"8.19.0"}}`))
}

func newServer(t *testing.T) *server {
	s := new(server)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func newTLSServer(t *testing.T, a *authority, name string, clients *authority, ips ...net.IP) *server {
	s := new(server)
	s.Server = httptest.NewUnstartedServer(s)
	cert, key := a.sign(t, name, ips...)
	pair, err := tls.X509KeyPair(cert, key)
	require.NoError(t, err)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if clients != nil {
		s.TLS.ClientCAs = x509.NewCertPool()
		s.TLS.ClientCAs.AddCert(clients.cert)
		s.TLS.ClientAuth = tls.RequireAndVerifyClientCert
	}
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func binding(url string) *appbinding.AppBinding {
	b := new(appbinding.AppBinding)
	b.Namespace, b.Name = "prod", "es"
	b.Spec.ClientConfig.URL = &url
	return b
}

var waiting = &appbinding.ConnectOptions{WaitTimeout: 20 * time.Second}

const hidden = "s3cr3t"

func ref(name string) *appbinding.SecretReference { return &appbinding.SecretReference{Name: name} }

func str(s string) *string { return &s }

func TestCredentials(t *testing.T) {
	s := newServer(t)
	basic := func(v string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(v)) }
	encoded := base64.StdEncoding.EncodeToString([]byte("id:" + hidden))
	for name, c := range map[string]struct {
		data       secret.Data
		transforms []appbinding.SecretTransform
		want, err  string
	}{
		"basic":         {data: secret.Data{"username": []byte("u"), "password": []byte(hidden)}, want: basic("u:" + hidden)},
		"admin":         {data: secret.Data{"ADMIN_USERNAME": []byte("a"), "ADMIN_PASSWORD": []byte(hidden)}, want: basic("a:" + hidden)},
		"api key":       {data: secret.Data{"apiKey": []byte(encoded + "\n"), "username": []byte("u")}, want: "APIKey " + encoded},
		"raw api key":   {data: secret.Data{"apiKey": []byte("id:" + hidden)}, want: "APIKey " + encoded},
		"none":          {want: ""},
		"no password":   {data: secret.Data{"username": []byte(hidden)}, err: "spec.secret: has the key username, but not password"},
		"no username":   {data: secret.Data{"password": []byte(hidden)}, err: "spec.secret: has the key password, but not username"},
		"no keys":       {data: secret.Data{"pass": []byte(hidden)}, err: "spec.secret: has none of the keys"},
		"empty api key": {data: secret.Data{"apiKey": []byte(" ")}, err: "spec.secret: key apiKey is empty"},
		"all transforms": {
			data: secret.Data{"user": []byte("old"), "apiKey": []byte("id:no")},
			transforms: []appbinding.SecretTransform{
				{RenameKey: &appbinding.RenameKeyTransform{From: "user", To: "username"}},
				{RenameKey: &appbinding.RenameKeyTransform{From: "absent", To: "username"}},
				{AddKey: &appbinding.AddKeyTransform{Key: "password", Value: []byte("wrong"), StringValue: str("also wrong")}},
				{AddKeysFrom: &appbinding.AddKeysFromTransform{SecretRef: ref("more")}},
				{RemoveKey: &appbinding.RemoveKeyTransform{Key: "apiKey"}},
			},
			want: basic("old:" + hidden),
		},
		"string value wins": {
			transforms: []appbinding.SecretTransform{
				{AddKey: &appbinding.AddKeyTransform{Key: "username", Value: []byte("u")}},
				{AddKey: &appbinding.AddKeyTransform{Key: "password", Value: []byte("no"), StringValue: str(hidden)}},
			},
			want: basic("u:" + hidden),
		},
		"missing addition": {
			data:       secret.Data{"username": []byte("u")},
			transforms: []appbinding.SecretTransform{{AddKeysFrom: &appbinding.AddKeysFromTransform{SecretRef: ref("absent")}}},
			err:        "spec.secretTransforms[0]: secret prod/absent: file does not exist",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := binding(s.URL)
			secrets := secret.Map{"prod/more": {"password": []byte(hidden)}}
			if c.data != nil {
				b.Spec.Secret = ref("auth")
				secrets["prod/auth"] = c.data
			}
			b.Spec.SecretTransforms = c.transforms
			_, err := b.Connect(t.Context(), secrets, waiting)
			if c.err != "" {
				require.ErrorContains(t, err, "appbinding prod/es: "+c.err)
				require.NotContains(t, err.Error(), hidden)
				return
			}
			require.NoError(t, err)
			r := s.last.Load()
			require.Equal(t, c.want, r.Header.Get("Authorization"))
			require.Empty(t, r.Header.Get("Accept-Encoding"))
		})
	}
	b := binding(s.URL)
	b.Spec.Secret = ref("auth")
	_, err := b.Connect(t.Context(), nil, nil)
	require.ErrorContains(t, err, "no secrets were given")
	_, err = b.Connect(t.Context(), secret.Map{}, nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	ip := net.IPv4(127, 0, 0, 1)
	plain := newTLSServer(t, ca, "localhost", nil, ip)
	named := newTLSServer(t, ca, "es.example.org", nil)
	mutual := newTLSServer(t, ca, "localhost", other, ip)
	cert, key := other.sign(t, "client")
	strange, strangeKey := ca.sign(t, "client")
	secrets := secret.Map{
		"prod/ca":      {"ca.crt": ca.pem},
		"prod/wrong":   {"ca.crt": other.pem},
		"prod/client":  {"ca.crt": ca.pem, "tls.crt": cert, "tls.key": key},
		"prod/strange": {"ca.crt": ca.pem, "tls.crt": strange, "tls.key": strangeKey},
		"prod/half":    {"tls.crt": cert},
		"prod/mixed":   {"tls.crt": cert, "tls.key": strangeKey},
		"prod/garbage": {"ca.crt": []byte("garbage")},
	}
	for name, c := range map[string]struct {
		s        *server
		bundle   []byte
		secret   string
		name     string
		insecure bool
		err      string
	}{
		"bundle":              {s: plain, bundle: ca.pem},
		"secret":              {s: plain, secret: "ca"},
		"bundle goes before":  {s: plain, bundle: other.pem, secret: "ca", err: "unknown authority"},
		"wrong authority":     {s: plain, secret: "wrong", err: "unknown authority"},
		"no authority":        {s: plain, err: "certificate"},
		"insecure":            {s: plain, insecure: true},
		"wrong name":          {s: named, bundle: ca.pem, err: "certificate"},
		"server name":         {s: named, bundle: ca.pem, name: "es.example.org"},
		"client certificate":  {s: mutual, secret: "client"},
		"no client":           {s: mutual, bundle: ca.pem, err: "certificate"},
		"strange client":      {s: mutual, secret: "strange", err: "tls: "},
		"certificate alone":   {s: mutual, bundle: ca.pem, secret: "half", err: "spec.tlsSecret: client certificate: has no key"},
		"key of another":      {s: mutual, bundle: ca.pem, secret: "mixed", err: "spec.tlsSecret: client certificate: "},
		"garbage authority":   {s: plain, secret: "garbage", err: "spec.tlsSecret: certificate authority: holds no PEM certificate"},
		"garbage bundle":      {s: plain, bundle: []byte("x"), err: "spec.clientConfig.caBundle: holds no PEM certificate"},
		"secret is not there": {s: plain, secret: "absent", err: "spec.tlsSecret: secret prod/absent: file does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			b := binding(c.s.URL)
			b.Spec.ClientConfig.CABundle = c.bundle
			b.Spec.ClientConfig.ServerName = c.name
			b.Spec.ClientConfig.InsecureSkipTLSVerify = c.insecure
			if c.secret != "" {
				b.Spec.TLSSecret = ref(c.secret)
			}
			_, err := b.Connect(t.Context(), secrets, &appbinding.ConnectOptions{WaitTimeout: 30 * time.Second})
			if c.err == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
			require.ErrorContains(t, err, "appbinding prod/es: spec.")
		})
	}
}

func TestWait(t *testing.T) {
	status := func(codes ...int) (*httptest.Server, *atomic.Int32) {
		var n atomic.Int32
		good := new(server)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if i := int(n.Add(1)); i <= len(codes) {
				w.WriteHeader(codes[i-1])
				return
			}
			good.ServeHTTP(w, r)
		}))
		t.Cleanup(s.Close)
		return s, &n
	}
	s, n := status(503, 502)
	_, err := binding(s.URL).Connect(t.Context(), nil, waiting)
	require.NoError(t, err)
	require.EqualValues(t, 3, n.Load())

	for _, code := range []int{401, 403, 404, 500} {
		s, n := status(code)
		_, err = binding(s.URL).Connect(t.Context(), nil, &appbinding.ConnectOptions{WaitTimeout: 30 * time.Second})
		require.ErrorContains(t, err, fmt.Sprintf("appbinding prod/es: spec.clientConfig: connect %s: the server answers %d", s.URL, code))
		require.EqualValues(t, 1, n.Load())
	}

	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := "http://" + l.Addr().String()
	require.NoError(t, l.Close())
	_, err = binding(gone).Connect(t.Context(), nil, &appbinding.ConnectOptions{WaitTimeout: 50 * time.Millisecond})
	require.ErrorContains(t, err, "no answer within 50ms")
	ctx, cancel := context.WithCancelCause(t.Context())
	cause := errors.New("enough")
	time.AfterFunc(20*time.Millisecond, func() { cancel(cause) })
	_, err = binding(gone).Connect(ctx, nil, &appbinding.ConnectOptions{WaitTimeout: 30 * time.Second})
	require.ErrorIs(t, err, cause)

	// Without waiting nobody is asked.
	_, err = binding(gone).Connect(t.Context(), nil, nil)
	require.NoError(t, err)
}

func TestAddress(t *testing.T) {
	for want, b := range map[string]func(b *appbinding.AppBinding){
		"http://es.prod.svc:9200":  func(b *appbinding.AppBinding) {},
		"https://es.prod.svc:9200": func(b *appbinding.AppBinding) { b.Spec.ClientConfig.InsecureSkipTLSVerify = true },
		"https://es.other.svc:9201/p/q?a=b": func(b *appbinding.AppBinding) {
			*b.Spec.ClientConfig.Service = appbinding.ServiceReference{Scheme: "https", Namespace: "other", Name: "es",
				Port: 9201, Path: "/p/q", Query: "a=b"}
		},
	} {
		a := binding("")
		a.Spec.ClientConfig.URL = nil
		a.Spec.ClientConfig.Service = &appbinding.ServiceReference{Name: "es"}
		b(a)
		c, err := a.Config(t.Context(), nil)
		require.NoError(t, err)
		require.Equal(t, want, c.URL)
	}
	s := newServer(t)
	_, err := appbinding.Config{URL: s.URL + "/prefix/?a=b"}.Connect(t.Context(), waiting)
	require.NoError(t, err)
	require.Equal(t, "/prefix/?a=b", s.last.Load().URL.RequestURI())

	u := "http://u:" + hidden + "@" + s.Listener.Addr().String()
	_, err = appbinding.Config{URL: u}.Connect(t.Context(), waiting)
	require.NoError(t, err)
	user, password, _ := s.last.Load().BasicAuth()
	require.Equal(t, "u:"+hidden, user+":"+password)
}

func TestNothingSecretIsPrinted(t *testing.T) {
	c := appbinding.Config{URL: "https://u:" + hidden + "@host:1/x?k=" + hidden, Username: "u", Password: hidden,
		APIKey: hidden, Key: []byte(hidden)}
	add := appbinding.AddKeyTransform{Key: "k", Value: []byte(hidden), StringValue: str(hidden)}
	b := binding(c.URL)
	b.Spec.SecretTransforms = []appbinding.SecretTransform{{AddKey: &add}}
	for _, v := range []any{c, &c, secret.Data{"k": []byte(hidden)},
		secret.Map{"a/b": {"k": []byte(hidden)}}, add, &add, b} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T"} {
			out := fmt.Sprintf(verb, v)
			require.NotContains(t, out, hidden)
			require.NotContains(t, out, fmt.Sprintf("%x", hidden))
			require.NotContains(t, out, "115 51") // its bytes in decimal
		}
		var buf bytes.Buffer
		slog.New(slog.NewTextHandler(&buf, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&buf, nil)).Info("x", "v", v)
		require.NotContains(t, buf.String(), hidden)
		require.NotContains(t, buf.String(), base64.StdEncoding.EncodeToString([]byte(hidden)))
	}
	for _, v := range []any{c, secret.Map{"a/b": {"k": []byte(hidden)}}} {
		out, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, string(out), hidden)
	}
	for _, u := range []string{"http://u:" + hidden + "@", "http://u:" + hidden + "%zz@h", "ftp://u:" + hidden + "@h", "",
		"http://h:" + hidden} {
		_, err := appbinding.Config{URL: u}.Connect(t.Context(), nil)
		require.Error(t, err)
		require.NotContains(t, err.Error(), hidden)
		_, err = binding(u).Connect(t.Context(), nil, nil)
		require.ErrorContains(t, err, "appbinding prod/es: spec.clientConfig.url: ")
		require.NotContains(t, err.Error(), hidden)
	}
}
