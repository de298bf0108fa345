package kube

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"reflect"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/appbinding"
	"github.com/escrow-backup/escrow/secret"
	"github.com/escrow-backup/escrow/storage"
	"github.com/escrow-backup/escrow/task"
)

// Scheme knows the kinds of Kubernetes and those of this project.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, task.AddToScheme, storage.AddToScheme, appbinding.AddToScheme} {
		if err := add(s); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Store is a task.Store on the API of Kubernetes.
type Store struct {
	Client client.Client
	// Backoff is between tries of an update that others' changes, or a server that is busy or starting, got in the way of. Default: eight
	// tries within about 13 seconds.
	Backoff *wait.Backoff
}

var _ task.Store = (*Store)(nil)

// Get implements task.Store.
func (s *Store) Get(ctx context.Context, namespace, name string, into task.Object) error {
	o := reflect.ValueOf(into).Elem()
	o.SetZero() // or else fields that the object does not have would stay
	err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, into)
	return describe(err, o.Type().Name(), namespace, name)
}

func describe(err error, kind, namespace, name string) error {
	if err == nil {
		return nil
	}
	what := kind + " " + name
	if namespace != "" {
		what = kind + " " + namespace + "/" + name
	}
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%s: %w", what, fs.ErrNotExist)
	}
	return fmt.Errorf("%s: %w", what, &unansweredError{err})
}

// unansweredError is a question to the API that nothing came of.
type unansweredError struct{ err error }

func (e *unansweredError) Error() string { return e.err.Error() }
func (e *unansweredError) Unwrap() error { return e.err }

// Unanswered reports whether err comes from a question to the API that had no answer, so that nothing is known of what was asked for: neither
// that it is there, nor that it is not.
func Unanswered(err error) bool {
	var e *unansweredError
	return errors.As(err, &e)
}

// UpdateStatus implements task.Store.
func (s *Store) UpdateStatus(ctx context.Context, namespace, name string, into task.Object, change func() error) error {
	backoff := wait.Backoff{Steps: 8, Duration: 100 * time.Millisecond, Factor: 2, Jitter: 0.1}
	if s.Backoff != nil {
		backoff = *s.Backoff
	}
	var changed error
	again := func(err error) bool {
		return ctx.Err() == nil && changed == nil && (apierrors.IsConflict(err) || transient(err))
	}
	return retry.OnError(backoff, again, func() error {
		if err := s.Get(ctx, namespace, name, into); err != nil {
			return err
		}
		if changed = change(); changed != nil {
			return changed
		}
		if err := s.Client.Status().Update(ctx, into); err != nil {
			return fmt.Errorf("update the status of %v: %w", into, err)
		}
		return nil
	})
}

// Secret implements secret.Source.
func (s *Store) Secret(ctx context.Context, namespace, name string) (secret.Data, error) {
	var o corev1.Secret
	if err := s.Client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, &o); err != nil {
		return nil, describe(err, "secret", namespace, name)
	}
	return secret.Data(o.Data), nil
}

// transient reports whether the API could not be reached, or was not able to answer: asking again may help.
func transient(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) ||
		apierrors.IsServiceUnavailable(err) || apierrors.IsInternalError(err)
}
