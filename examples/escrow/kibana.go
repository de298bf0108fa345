package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
)

// kibana reaches Kibana with the credentials and the certificates of Elasticsearch.
type kibana struct {
	base           *url.URL
	user, password string
	apiKey         string
	http           *http.Client
}

// connectKibana returns nil if no Kibana was named.
func (a *app) connectKibana(address string, c *cluster) (elastictransport.Interface, error) {
	if address == "" {
		return nil, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--kibana: want http://host:port or https://host:port")
	}
	if u.Path == "" {
		u.Path = "/" // else JoinPath makes a relative path
	}
	k := &kibana{base: u, user: a.env("ES_USERNAME"), password: a.env("ES_PASSWORD"), apiKey: a.env("ES_API_KEY")}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: c.insecure, MinVersion: tls.VersionTLS12}
	if c.caCert != "" {
		pem, err := os.ReadFile(c.caCert)
		if err != nil {
			return nil, fmt.Errorf("read --ca-cert: %w", err)
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, usagef("--ca-cert %s: no certificate in it", c.caCert)
		}
	}
	k.http = &http.Client{Transport: t}
	return k, nil
}

// Perform implements elastictransport.Interface.
func (k *kibana) Perform(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	u := k.base.JoinPath(r.URL.EscapedPath())
	u.RawQuery = r.URL.RawQuery
	r.URL, r.Host = u, u.Host
	switch {
	case k.apiKey != "":
		r.Header.Set("Authorization", "ApiKey "+k.apiKey)
	case k.user != "":
		r.SetBasicAuth(k.user, k.password)
	}
	return k.http.Do(r)
}
