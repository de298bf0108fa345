package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	utilexec "k8s.io/client-go/util/exec"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/task"
)

// Exec reaches the pods behind targets.
type Exec struct {
	Client client.Client
	Config *rest.Config
}

// Host is the host that an AppBinding names.
func (e *Exec) Host(ctx context.Context, target task.TargetRef) (string, error) {
	b, err := e.binding(ctx, target)
	if err != nil {
		return "", err
	}
	c := b.Spec.ClientConfig
	if c.URL != nil && *c.URL != "" {
		u, err := url.Parse(*c.URL)
		if err != nil || u.Hostname() == "" {
			return "", fmt.Errorf("%v: spec.clientConfig.url: names no host", b)
		}
		return u.Hostname(), nil
	}
	if c.Service == nil {
		return "", fmt.Errorf("%v: spec.clientConfig: names no host", b)
	}
	return c.Service.Name + "." + serviceNamespace(b) + ".svc", nil
}

func serviceNamespace(b *appbinding.AppBinding) string {
	if ns := b.Spec.ClientConfig.Service.Namespace; ns != "" {
		return ns
	}
	return b.Namespace
}

func (e *Exec) binding(ctx context.Context, target task.TargetRef) (*appbinding.AppBinding, error) {
	if target.Kind != appbinding.Kind {
		return nil, fmt.Errorf("%s %s: %w: the target is no %s", target.Kind, target.Name, errors.ErrUnsupported, appbinding.Kind)
	}
	b := new(appbinding.AppBinding)
	return b, (&Store{Client: e.Client}).Get(ctx, target.Namespace, target.Name, b)
}

// pod is one of those that the service of the AppBinding selects, and that is ready.
func (e *Exec) pod(ctx context.Context, target task.TargetRef) (*corev1.Pod, error) {
	b, err := e.binding(ctx, target)
	if err != nil {
		return nil, err
	}
	if b.Spec.ClientConfig.Service == nil {
		return nil, fmt.Errorf("%v: spec.clientConfig.service: is required to find the pods", b)
	}
	var service corev1.Service
	name, ns := b.Spec.ClientConfig.Service.Name, serviceNamespace(b)
	if err := e.Client.Get(ctx, types.NamespacedName{Namespace: ns, Name: name}, &service); err != nil {
		return nil, describe(err, "service", ns, name)
	}
	if len(service.Spec.Selector) == 0 {
		return nil, fmt.Errorf("service %s/%s: selects no pods", ns, name)
	}
	var pods corev1.PodList
	if err := e.Client.List(ctx, &pods, client.InNamespace(ns), client.MatchingLabels(service.Spec.Selector)); err != nil {
		return nil, fmt.Errorf("pods of service %s/%s: %w", ns, name, err)
	}
	for i := range pods.Items {
		for _, c := range pods.Items[i].Status.Conditions {
			if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue && pods.Items[i].DeletionTimestamp.IsZero() {
				return &pods.Items[i], nil
			}
		}
	}
	return nil, fmt.Errorf("service %s/%s: none of %d pods is ready: %w", ns, name, len(pods.Items), fs.ErrNotExist)
}

// Run runs a command in a container of a pod of the target; default: its first container. What the command prints is for nobody: it may be
// secret.
func (e *Exec) Run(ctx context.Context, target task.TargetRef, container string, command []string) error {
	pod, err := e.pod(ctx, target)
	if err != nil {
		return err
	}
	if container == "" {
		container = pod.Spec.Containers[0].Name
	}
	what := fmt.Sprintf("exec in container %s of pod %s/%s", container, pod.Namespace, pod.Name)
	if err := e.stream(ctx, pod, container, command); err != nil {
		var code utilexec.CodeExitError
		if errors.As(err, &code) {
			return fmt.Errorf("%s: the command exits with %d", what, code.Code)
		}
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (e *Exec) stream(ctx context.Context, pod *corev1.Pod, container string, command []string) error {
	config := rest.CopyConfig(e.Config)
	config.GroupVersion, config.APIPath = &corev1.SchemeGroupVersion, "/api"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	c, err := rest.RESTClientFor(config)
	if err != nil {
		return err
	}
	u := c.Post().Resource("pods").Namespace(pod.Namespace).Name(pod.Name).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{Container: container, Command: command, Stdout: true, Stderr: true}, scheme.ParameterCodec).URL()
	executor, err := remotecommand.NewWebSocketExecutor(config, "GET", u.String())
	if err != nil {
		return err
	}
	return executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdout: io.Discard, Stderr: io.Discard})
}
