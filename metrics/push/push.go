// Package push sends metrics to a Pushgateway of Prometheus.
//
// Each source of series has a grouping key of its own: job is the invoker, such as "backupconfiguration-demo-nightly", or the
// repository, and to it come the labels that tell a target (kind, group, name) or a host (hostname too). So the hosts and targets of a batch
// never overwrite each other, and a run replaces what the one before it pushed, and no more: a failed run leaves the time of the last success.
package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	dto "github.com/prometheus/client_model/go"

	"github.com/escrow-backup/escrow/metrics"
)

// Options of a Gateway; nil and the zero value work.
type Options struct {
	// Client sends the requests. Default: one that gives up after 30 seconds.
	Client *http.Client
}

// Gateway is a metrics.Sink, Flusher and Deleter.
type Gateway struct {
	url            string
	user, password string
	basic          bool
	client         *http.Client

	mu     sync.Mutex
	groups map[string]*group
}

// group is the series of one source that are not sent yet.
type group struct {
	job    string
	labels [][2]string // the rest of the grouping key
	series map[string]sample
}

type sample struct {
	metric *metrics.Metric
	labels [][2]string // without those of the grouping key
	value  float64
}

// New makes a Gateway for the Pushgateway at an address such as "http://pushgateway:9091". A user and password in it are used, and shown in no
// error. Nothing is sent until Flush.
func New(address string, o *Options) (*Gateway, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, errors.New("pushgateway: the address is not a URL such as http://host:9091")
	}
	g := &Gateway{client: &http.Client{Timeout: 30 * time.Second}, groups: map[string]*group{}}
	if o != nil && o.Client != nil {
		g.client = o.Client
	}
	if u.User != nil {
		g.basic, g.user = true, u.User.Username()
		g.password, _ = u.User.Password()
		u.User = nil
	}
	g.url = strings.TrimSuffix(u.String(), "/")
	return g, nil
}

// Record implements metrics.Sink.
func (g *Gateway) Record(_ context.Context, m *metrics.Metric, v float64, labels ...string) error {
	job, further, err := m.Key(labels)
	if err != nil {
		return err
	}
	s := sample{metric: m, value: v}
	var key [][2]string
	for i, name := range m.Labels {
		if slices.Contains(further, name) {
			key = append(key, [2]string{name, labels[i]})
		} else {
			s.labels = append(s.labels, [2]string{name, labels[i]})
		}
	}
	id := fmt.Sprintf("%q %q", job, key)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.groups[id] == nil {
		g.groups[id] = &group{job: job, labels: key, series: map[string]sample{}}
	}
	g.groups[id].series[fmt.Sprintf("%s %q", m.Name, s.labels)] = s
	return nil
}

// Flush implements metrics.Flusher: it sends what was recorded since, a request for each source. What could not be sent is kept for the next
// call.
func (g *Gateway) Flush(ctx context.Context) error {
	g.mu.Lock()
	groups := g.groups
	g.groups = map[string]*group{}
	g.mu.Unlock()
	var errs []error
	for id, of := range groups {
		p := push.New(g.url, of.job).Client(g.client).Gatherer(of)
		for _, l := range of.labels {
			p = p.Grouping(l[0], l[1])
		}
		if g.basic {
			p = p.BasicAuth(g.user, g.password)
		}
		if err := p.AddContext(ctx); err != nil {
			errs = append(errs, fmt.Errorf("push metrics of %s: %w", of.job, err))
			g.keep(id, of)
		}
	}
	return errors.Join(errs...)
}

// keep puts back what could not be sent, behind what was recorded since.
func (g *Gateway) keep(id string, of *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if newer := g.groups[id]; newer != nil {
		for name, s := range newer.series {
			of.series[name] = s
		}
	}
	g.groups[id] = of
}

// Gather implements prometheus.Gatherer.
func (g *group) Gather() ([]*dto.MetricFamily, error) {
	families := map[string]*dto.MetricFamily{}
	for _, s := range g.series {
		f := families[s.metric.Name]
		if f == nil {
			kind := dto.MetricType_GAUGE
			f = &dto.MetricFamily{Name: &s.metric.Name, Help: &s.metric.Help, Type: &kind}
			families[s.metric.Name] = f
		}
		value := s.value
		m := &dto.Metric{Gauge: &dto.Gauge{Value: &value}}
		for _, l := range s.labels {
			m.Label = append(m.Label, &dto.LabelPair{Name: &l[0], Value: &l[1]})
		}
		f.Metric = append(f.Metric, m)
	}
	var out []*dto.MetricFamily
	for _, f := range families {
		out = append(out, f)
	}
	return out, nil
}

var _ prometheus.Gatherer = (*group)(nil)

// Delete implements metrics.Deleter: it asks the Pushgateway which sources the group has, whoever pushed them, and removes each.
func (g *Gateway) Delete(ctx context.Context, name string) error {
	if err := g.delete(ctx, name); err != nil {
		return fmt.Errorf("delete metrics of %s: %w", name, err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, of := range g.groups {
		if of.job == name {
			delete(g.groups, id)
		}
	}
	return nil
}

func (g *Gateway) delete(ctx context.Context, name string) error {
	keys, err := g.keys(ctx)
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key["job"] != name {
			continue
		}
		p := push.New(g.url, name).Client(&deleter{g.client, ctx})
		for label, value := range key {
			if label != "job" {
				p = p.Grouping(label, value)
			}
		}
		if g.basic {
			p = p.BasicAuth(g.user, g.password)
		}
		if err := p.Delete(); err != nil {
			return err
		}
	}
	return nil
}

// deleter gives a context to the requests of Pusher.Delete, which takes none.
type deleter struct {
	client *http.Client
	ctx    context.Context
}

// Do implements push.HTTPDoer.
func (d *deleter) Do(req *http.Request) (*http.Response, error) {
	return d.client.Do(req.WithContext(d.ctx))
}

// keys are the grouping keys that the Pushgateway has.
func (g *Gateway) keys(ctx context.Context) ([]map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/api/v1/metrics", nil)
	if err != nil {
		return nil, err
	}
	if g.basic {
		req.SetBasicAuth(g.user, g.password)
	}
	res, err := g.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }() // read to its end, or of no use
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the Pushgateway answers %s", res.Status)
	}
	var answer struct {
		Data []struct {
			Labels map[string]string `json:"labels"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("the Pushgateway's list of groups: %w", err)
	}
	var keys []map[string]string
	for _, d := range answer.Data {
		keys = append(keys, d.Labels)
	}
	return keys, nil
}
