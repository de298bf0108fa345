package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/url"
	"os"

	"github.com/elastic/elastic-transport-go/v8/elastictransport"
	"github.com/elastic/go-elasticsearch/v8"
	"github.com/spf13/pflag"
)

// cluster is how to reach an Elasticsearch.
type cluster struct {
	url, caCert         string
	insecure            bool
	appBinding, secrets string
}

func (c *cluster) flags(f *pflag.FlagSet) {
	f.StringVar(&c.url, "es", "", "`URL` of Elasticsearch; credentials come from $ES_USERNAME and $ES_PASSWORD, or $ES_API_KEY")
	f.StringVar(&c.caCert, "ca-cert", "", "`FILE` with the certificates (PEM) that may have signed the server's")
	f.BoolVar(&c.insecure, "insecure-skip-tls-verify", false, "do not verify the server's certificate")
	f.StringVar(&c.appBinding, "appbinding", "", "`FILE` with an AppBinding (YAML or JSON), instead of --es")
	f.StringVar(&c.secrets, "secrets", "", "`DIR` with the secrets that the AppBinding names, a folder each")
}

// check says what is wrong with the flags. It never quotes the URL: a password may stand in it.
func (c *cluster) check() (*url.URL, error) {
	switch {
	case c.url == "" && c.appBinding == "":
		return nil, usagef("no Elasticsearch: give --es or --appbinding")
	case c.url != "" && c.appBinding != "":
		return nil, usagef("--es and --appbinding: give one, not both")
	case c.appBinding == "" && c.secrets != "":
		return nil, usagef("--secrets: goes with --appbinding only")
	case c.appBinding != "" && (c.caCert != "" || c.insecure):
		return nil, usagef("--ca-cert and --insecure-skip-tls-verify: go with --es only, the AppBinding says it")
	case c.appBinding != "":
		return nil, nil
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, usagef("--es: want http://host:port or https://host:port")
	}
	return u, nil
}

func (a *app) connect(ctx context.Context, c *cluster) (elastictransport.Interface, error) {
	u, err := c.check()
	if err != nil {
		return nil, err
	}
	config := elasticsearch.Config{Username: a.env("ES_USERNAME"), Password: a.env("ES_PASSWORD"), APIKey: a.env("ES_API_KEY"),
		DisableRetry: true}
	if config.APIKey != "" && config.Username != "" {
		return nil, usagef("ES_API_KEY and ES_USERNAME are both set: want one of them")
	}
	if u.User != nil && config.Username == "" && config.APIKey == "" {
		config.Username = u.User.Username()
		config.Password, _ = u.User.Password()
	}
	u.User = nil
	config.Addresses = []string{u.String()}
	if c.caCert != "" {
		if config.CACert, err = os.ReadFile(c.caCert); err != nil {
			return nil, fmt.Errorf("connect to %s: %w", u, err)
		}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: c.insecure}
	config.Transport = t
	return elasticsearch.NewClient(config)
}
