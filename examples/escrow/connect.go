package main

import (
	"context"
	"fmt"
	"net/url"
	"os"

	"github.com/elastic/go-elasticsearch/v8"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/escrow-backup/escrow/appbinding"
)

// cluster is how to reach an Elasticsearch.
type cluster struct {
	url, caCert string
	insecure    bool
	retries     int
	appBinding  string
}

func (c *cluster) flags(f *pflag.FlagSet) {
	f.StringVar(&c.url, "es", "", "`URL` of Elasticsearch; credentials come from $ES_USERNAME and $ES_PASSWORD, or $ES_API_KEY")
	f.StringVar(&c.caCert, "ca-cert", "", "`FILE` with the certificates (PEM) that may have signed the server's")
	f.BoolVar(&c.insecure, "insecure-skip-tls-verify", false, "do not verify the server's certificate")
	f.IntVar(&c.retries, "retries", 6, "how often a request that failed is sent again, a `NUMBER`")
	f.StringVar(&c.appBinding, "appbinding", "", "`FILE` with an AppBinding (YAML or JSON), instead of --es")
}

// check says what is wrong with the flags. It never quotes the URL: a password may stand in it.
func (c *cluster) check() error {
	switch {
	case c.url == "" && c.appBinding == "":
		return usagef("no Elasticsearch: give --es or --appbinding")
	case c.url != "" && c.appBinding != "":
		return usagef("--es and --appbinding: give one, not both")
	case c.appBinding != "" && (c.caCert != "" || c.insecure):
		return usagef("--ca-cert and --insecure-skip-tls-verify: go with --es only, the AppBinding says it")
	case c.appBinding != "":
		return nil
	}
	u, err := url.Parse(c.url)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return usagef("--es: want http://host:port or https://host:port")
	}
	return nil
}

// tries is the number of retries as the packages want it, for whom 0 means their default.
func (c *cluster) tries() int {
	if c.retries <= 0 {
		return -1
	}
	return c.retries
}

func (a *app) connect(ctx context.Context, c *cluster) (*elasticsearch.Client, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if a.place.secrets != "" && a.place.object == "" && c.appBinding == "" {
		return nil, usagef("--secrets: goes with --appbinding or --repository only")
	}
	if c.appBinding != "" {
		return a.connectBinding(ctx, c)
	}
	config := appbinding.Config{URL: c.url, Username: a.env("ES_USERNAME"), Password: a.env("ES_PASSWORD"),
		APIKey: a.env("ES_API_KEY"), InsecureSkipVerify: c.insecure}
	if config.APIKey != "" && config.Username != "" {
		return nil, usagef("ES_API_KEY and ES_USERNAME are both set: want one of them")
	}
	if c.caCert != "" {
		var err error
		if config.CACert, err = os.ReadFile(c.caCert); err != nil {
			return nil, fmt.Errorf("read --ca-cert: %w", err)
		}
	}
	return config.Connect(ctx, nil)
}

func (a *app) connectBinding(ctx context.Context, c *cluster) (*elasticsearch.Client, error) {
	data, err := os.ReadFile(c.appBinding)
	if err != nil {
		return nil, fmt.Errorf("read --appbinding: %w", err)
	}
	binding, err := appbinding.Parse(data)
	if err != nil && !runtime.IsStrictDecodingError(err) {
		return nil, fmt.Errorf("%s: %w", c.appBinding, err)
	}
	if err != nil && !a.quiet { // a field of a newer version than this one's
		a.out.textf("warning: %s: %s\n", c.appBinding, oneLine(err))
	}
	return binding.Connect(ctx, a.place.source(), nil)
}
