package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// again is how long to wait for what a pod needs and does not have yet.
const again = 300 * time.Millisecond

var errDeadline = errors.New("the pod was active longer than its deadline")

// pod is a pod from when it is bound to the node until it is deleted.
type pod struct {
	kubelet *kubelet
	object  *corev1.Pod // as it was seen first; read only
	dir     string
	stopped chan struct{} // closed when the pod has to end

	mu     sync.Mutex
	grace  time.Duration
	quiet  bool // the kubelet ends: the API hears nothing more
	status corev1.PodStatus
}

func newPod(k *kubelet, object *corev1.Pod) *pod {
	now := metav1.Now()
	return &pod{
		kubelet: k, object: object, dir: filepath.Join(k.options.Root, "pods", string(object.UID)), stopped: make(chan struct{}),
		status: corev1.PodStatus{
			Phase: corev1.PodPending, QOSClass: object.Status.QOSClass, StartTime: &now,
			HostIP: "127.0.0.1", HostIPs: []corev1.HostIP{{IP: "127.0.0.1"}},
			PodIP: "127.0.0.1", PodIPs: []corev1.PodIP{{IP: "127.0.0.1"}},
		},
	}
}

// terminate makes the pod end, with a grace in seconds. It may be called again.
func (p *pod) terminate(grace *int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if grace == nil {
		grace = p.object.Spec.TerminationGracePeriodSeconds
	}
	if grace == nil {
		grace = new(int64(corev1.DefaultTerminationGracePeriodSeconds))
	}
	p.grace = time.Duration(*grace) * time.Second
	select {
	case <-p.stopped:
	default:
		close(p.stopped)
	}
}

func (p *pod) silence() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.quiet = true
}

func (p *pod) silent() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.quiet
}

func (p *pod) gracePeriod() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.grace
}

func (p *pod) log() *slog.Logger {
	return slog.With("namespace", p.object.Namespace, "pod", p.object.Name)
}

// run takes the pod through its life. The context is for the API; what ends the pod is stopped.
func (p *pod) run(ctx context.Context) {
	active, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-p.stopped:
			cancel(context.Canceled)
		case <-active.Done():
		}
	}()
	if seconds := p.object.Spec.ActiveDeadlineSeconds; seconds != nil {
		timer := time.AfterFunc(time.Duration(*seconds)*time.Second, func() { cancel(errDeadline) })
		defer timer.Stop()
	}

	if !ended(p.object) {
		err := p.work(ctx, active)
		p.update(ctx, func(s *corev1.PodStatus) {
			s.Phase = corev1.PodSucceeded
			if err != nil {
				s.Phase, s.Message = corev1.PodFailed, err.Error()
			}
			if errors.Is(err, errDeadline) {
				s.Reason = "DeadlineExceeded"
			}
		})
	}
	<-p.stopped
	if p.silent() {
		return
	}
	if err := errors.Join(os.RemoveAll(p.dir), p.remove(ctx)); err != nil {
		p.log().Error("remove", "error", err)
	}
}

// work runs the containers, and returns an error if the pod failed.
func (p *pod) work(ctx, active context.Context) error {
	volumes, err := p.mountable(ctx, active)
	if err != nil {
		return err
	}
	for i := range p.object.Spec.InitContainers {
		c := newContainer(p, &p.object.Spec.InitContainers[i], volumes, true)
		if err := c.run(ctx, active); err != nil {
			return err
		}
	}
	p.update(ctx, func(s *corev1.PodStatus) { setCondition(s, corev1.PodInitialized, true) })
	failures := make([]error, len(p.object.Spec.Containers))
	var group sync.WaitGroup
	for i := range p.object.Spec.Containers {
		c := newContainer(p, &p.object.Spec.Containers[i], volumes, false)
		group.Go(func() { failures[i] = c.run(ctx, active) })
	}
	group.Wait()
	if errors.Is(context.Cause(active), errDeadline) {
		return errDeadline
	}
	return errors.Join(failures...)
}

// mountable makes the pod's volumes, and waits for Secrets and the like that are not there yet, as a kubelet does.
func (p *pod) mountable(ctx, active context.Context) (map[string]string, error) {
	for {
		volumes, err := p.volumes(active)
		if err == nil {
			p.update(ctx, func(s *corev1.PodStatus) { s.Message = "" })
			return volumes, nil
		}
		if active.Err() != nil {
			return nil, context.Cause(active)
		}
		p.log().Info("waiting for volumes", "error", err)
		p.update(ctx, func(s *corev1.PodStatus) { s.Message = err.Error() })
		if err := pause(active, again); err != nil {
			return nil, err
		}
	}
}

// update changes the pod's status and writes it.
func (p *pod) update(ctx context.Context, change func(*corev1.PodStatus)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(&p.status)
	if p.quiet {
		return
	}
	pods := p.kubelet.client.CoreV1().Pods(p.object.Namespace)
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		now, err := pods.Get(ctx, p.object.Name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) || err == nil && now.UID != p.object.UID {
			return nil
		}
		if err != nil {
			return err
		}
		theirs := now.Status.Conditions
		now.Status = *p.status.DeepCopy()
		for _, c := range theirs {
			// The scheduler's, and those of whoever evicts pods.
			if c.Type == corev1.PodScheduled || c.Type == corev1.DisruptionTarget {
				now.Status.Conditions = append(now.Status.Conditions, c)
			}
		}
		_, err = pods.UpdateStatus(ctx, now, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		p.log().Error("status", "error", err)
	}
}

// remove deletes the pod for good: that is the kubelet's to say.
func (p *pod) remove(ctx context.Context) error {
	err := p.kubelet.client.CoreV1().Pods(p.object.Namespace).Delete(ctx, p.object.Name, metav1.DeleteOptions{
		GracePeriodSeconds: new(int64), Preconditions: metav1.NewUIDPreconditions(string(p.object.UID)),
	})
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// setContainer puts a container's status in its place, and says what follows for the pod.
func (p *pod) setContainer(ctx context.Context, status *corev1.ContainerStatus, initial bool) {
	p.update(ctx, func(s *corev1.PodStatus) {
		list := &s.ContainerStatuses
		if initial {
			list = &s.InitContainerStatuses
		}
		found := false
		for i := range *list {
			if (*list)[i].Name == status.Name {
				(*list)[i], found = *status.DeepCopy(), true
			}
		}
		if !found {
			*list = append(*list, *status.DeepCopy())
		}
		if initial {
			return
		}
		if status.State.Running != nil {
			s.Phase = corev1.PodRunning
		}
		ready := len(s.ContainerStatuses) == len(p.object.Spec.Containers)
		for _, c := range s.ContainerStatuses {
			ready = ready && c.Ready
		}
		setCondition(s, corev1.ContainersReady, ready)
		setCondition(s, corev1.PodReady, ready)
	})
}

func setCondition(s *corev1.PodStatus, kind corev1.PodConditionType, holds bool) {
	c := corev1.PodCondition{Type: kind, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}
	if holds {
		c.Status = corev1.ConditionTrue
	}
	for i := range s.Conditions {
		if s.Conditions[i].Type == kind {
			if s.Conditions[i].Status != c.Status {
				s.Conditions[i] = c
			}
			return
		}
	}
	s.Conditions = append(s.Conditions, c)
}

// pause waits, and returns why the context ended if it did.
func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return fmt.Errorf("waiting: %w", context.Cause(ctx))
	case <-time.After(d):
		return nil
	}
}
