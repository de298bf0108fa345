package main

import (
	"context"
	"fmt"
	"net/url"

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
	f.StringVar(&c.url, "es", "", "URL of Elasticsearch; credentials come from $ES_USERNAME and $ES_PASSWORD, or $ES_API_KEY")
	f.StringVar(&c.caCert, "ca-cert", "", "file with the certificates (PEM) that may have signed the server's")
	f.BoolVar(&c.insecure, "insecure-skip-tls-verify", false, "do not verify the server's certificate")
	f.StringVar(&c.appBinding, "appbinding", "", "file with an AppBinding (YAML or JSON), instead of --es")
	f.StringVar(&c.secrets, "secrets", "", "directory with the secrets that the AppBinding names, one folder each")
}

func (a *app) connect(ctx context.Context, c *cluster) (elastictransport.Interface, error) {
	u, err := url.Parse(c.url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return elasticsearch.NewClient(elasticsearch.Config{Addresses: []string{u.String()}})
}
