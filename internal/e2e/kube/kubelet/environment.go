package kubelet

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// environment returns a container's variables, as NAME=VALUE and by name.
func (p *pod) environment(ctx context.Context, c *corev1.Container) ([]string, map[string]string, error) {
	values := map[string]string{
		"PATH":                    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"HOME":                    "/root",
		"HOSTNAME":                p.object.Name,
		"KUBERNETES_SERVICE_HOST": p.kubelet.apiHost,
		"KUBERNETES_SERVICE_PORT": p.kubelet.apiPort,
	}
	for _, from := range c.EnvFrom {
		var data map[string][]byte
		var err error
		var may *bool
		switch {
		case from.SecretRef != nil:
			may = from.SecretRef.Optional
			data, err = p.secret(ctx, from.SecretRef.Name)
		case from.ConfigMapRef != nil:
			may = from.ConfigMapRef.Optional
			data, err = p.configMap(ctx, from.ConfigMapRef.Name)
		}
		if err != nil && !optional(may, err) {
			return nil, nil, err
		}
		for name, v := range data {
			values[from.Prefix+name] = string(v)
		}
	}
	for _, e := range c.Env {
		value, err := p.variable(ctx, &e, values, c)
		if err != nil {
			return nil, nil, fmt.Errorf("variable %s: %w", e.Name, err)
		}
		if value != nil {
			values[e.Name] = *value
		}
	}
	var list []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		list = append(list, name+"="+values[name])
	}
	return list, values, nil
}

// variable returns the value of a variable, nil if it may be missing and is.
func (p *pod) variable(ctx context.Context, e *corev1.EnvVar, known map[string]string, c *corev1.Container) (*string, error) {
	from := e.ValueFrom
	if from == nil {
		return new(expand(e.Value, known)), nil
	}
	var data map[string][]byte
	var err error
	var key string
	var may *bool
	switch {
	case from.SecretKeyRef != nil:
		key, may = from.SecretKeyRef.Key, from.SecretKeyRef.Optional
		data, err = p.secret(ctx, from.SecretKeyRef.Name)
	case from.ConfigMapKeyRef != nil:
		key, may = from.ConfigMapKeyRef.Key, from.ConfigMapKeyRef.Optional
		data, err = p.configMap(ctx, from.ConfigMapKeyRef.Name)
	case from.FieldRef != nil:
		value, err := p.field(from.FieldRef.FieldPath)
		return &value, err
	case from.ResourceFieldRef != nil:
		value, err := limit(c, from.ResourceFieldRef)
		return &value, err
	default:
		return nil, fmt.Errorf("its source is of a kind that is not known here")
	}
	v, found := data[key]
	if err == nil && !found {
		err = fmt.Errorf("key %s: %w", key, errNoKey)
	}
	if err != nil {
		if optional(may, err) {
			return nil, nil
		}
		return nil, err
	}
	return new(string(v)), nil
}

// limit is what a container may have or asks for of a resource; without a limit, what the node says it has.
func limit(c *corev1.Container, ref *corev1.ResourceFieldSelector) (string, error) {
	kind, name, _ := strings.Cut(ref.Resource, ".")
	list := c.Resources.Limits
	switch kind {
	case "limits":
	case "requests":
		list = c.Resources.Requests
	default:
		return "", fmt.Errorf("resource %q is not known here", ref.Resource)
	}
	q, found := list[corev1.ResourceName(name)]
	if !found {
		return "0", nil
	}
	if d := ref.Divisor; !d.IsZero() {
		n := q.MilliValue() / d.MilliValue()
		if q.MilliValue()%d.MilliValue() != 0 {
			n++
		}
		return strconv.FormatInt(n, 10), nil
	}
	return strconv.FormatInt(q.Value(), 10), nil
}

// field is a field of the pod, as the downward API names it.
func (p *pod) field(path string) (string, error) {
	o := p.object
	switch path {
	case "metadata.name":
		return o.Name, nil
	case "metadata.namespace":
		return o.Namespace, nil
	case "metadata.uid":
		return string(o.UID), nil
	case "metadata.labels":
		return pairs(o.Labels), nil
	case "metadata.annotations":
		return pairs(o.Annotations), nil
	case "spec.nodeName":
		return o.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return o.Spec.ServiceAccountName, nil
	case "status.podIP", "status.podIPs", "status.hostIP", "status.hostIPs":
		return "127.0.0.1", nil
	}
	for prefix, values := range map[string]map[string]string{"metadata.labels['": o.Labels, "metadata.annotations['": o.Annotations} {
		if key, found := strings.CutPrefix(path, prefix); found {
			return values[strings.TrimSuffix(key, "']")], nil
		}
	}
	return "", fmt.Errorf("field %q of a pod is not known here", path)
}

func pairs(m map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, "%s=%q\n", k, m[k])
	}
	return b.String()
}

// expand replaces $(NAME) by the value of a variable. A name that is not known stays as it is, and $$ is a dollar.
func expand(s string, values map[string]string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		if rest, escaped := strings.CutPrefix(after, "$"); escaped {
			b.WriteByte('$')
			s = rest
			continue
		}
		if inner, isRef := strings.CutPrefix(after, "("); isRef {
			if name, rest, closed := strings.Cut(inner, ")"); closed {
				if value, known := values[name]; known {
					b.WriteString(value)
					s = rest
					continue
				}
			}
		}
		b.WriteByte('$')
		s = after
	}
}

func (p *pod) secret(ctx context.Context, name string) (map[string][]byte, error) {
	s, err := p.kubelet.client.CoreV1().Secrets(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	return s.Data, nil
}

func (p *pod) configMap(ctx context.Context, name string) (map[string][]byte, error) {
	m, err := p.kubelet.client.CoreV1().ConfigMaps(p.object.Namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	data := maps.Clone(m.BinaryData)
	if data == nil {
		data = map[string][]byte{}
	}
	for k, v := range m.Data {
		data[k] = []byte(v)
	}
	return data, nil
}

// hosts is the container's /etc/hosts: whatever is a Service answers on this machine.
func (p *pod) hosts(ctx context.Context) (string, error) {
	services, err := p.kubelet.client.CoreV1().Services(metav1.NamespaceAll).List(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "127.0.0.1 localhost %s\n", p.object.Name)
	for _, s := range services.Items {
		full := s.Name + "." + s.Namespace
		fmt.Fprintf(&b, "127.0.0.1 %[1]s %[1]s.svc %[1]s.svc.cluster.local", full)
		if s.Namespace == p.object.Namespace {
			fmt.Fprintf(&b, " %s", s.Name)
		}
		b.WriteByte('\n')
	}
	return b.String(), nil
}
