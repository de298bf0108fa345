package controller

import (
	"context"
	"fmt"
	"slices"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/task"
)

// cleanup removes what a session that is over does not need any more: Jobs that still run, but for hooks, and interim volumes.
func (o *Operator) cleanup(ctx context.Context, s task.Object) error {
	var jobs batchv1.JobList
	if err := o.Client.List(ctx, &jobs, client.InNamespace(s.GetNamespace())); err != nil {
		return fmt.Errorf("jobs of %v: %w", s, err)
	}
	ran := map[types.UID]bool{}
	for i := range jobs.Items {
		j := &jobs.Items[i]
		if !metav1.IsControlledBy(j, s) {
			continue
		}
		over, _ := ended(j)
		ran[j.UID] = over
		if over || j.Labels[task.LabelComponent] == componentHook {
			continue
		}
		if err := o.remove(ctx, j); err != nil {
			return fmt.Errorf("job %s/%s: %w", j.Namespace, j.Name, err)
		}
	}
	var claims corev1.PersistentVolumeClaimList
	if err := o.Client.List(ctx, &claims, client.InNamespace(s.GetNamespace()), client.HasLabels{task.LabelSession}); err != nil {
		return fmt.Errorf("volumes of %v: %w", s, err)
	}
	own := map[string]bool{}
	for i := range claims.Items {
		if c := &claims.Items[i]; metav1.IsControlledBy(c, s) {
			own[c.Name] = true
			if err := o.remove(ctx, c); err != nil {
				return fmt.Errorf("volume %s/%s: %w", c.Namespace, c.Name, err)
			}
		}
	}
	if len(own) == 0 && !o.Config.EphemeralVolumes {
		return nil
	}
	return o.release(ctx, s, ran, own)
}

// release removes the pods of Jobs that have ended, where they have an interim volume: one of the claims, or one of their own. Kubernetes keeps a
// claim for as long as a pod names it, also one that has ended. What became of the pods is in the session's status.
func (o *Operator) release(ctx context.Context, s task.Object, ran map[types.UID]bool, claims map[string]bool) error {
	var pods corev1.PodList
	if err := o.Client.List(ctx, &pods, client.InNamespace(s.GetNamespace()), client.HasLabels{task.LabelSession}); err != nil {
		return fmt.Errorf("pods of %v: %w", s, err)
	}
	for i := range pods.Items {
		p := &pods.Items[i]
		job := metav1.GetControllerOf(p)
		if job == nil || !ran[job.UID] || !slices.ContainsFunc(p.Spec.Volumes, func(v corev1.Volume) bool {
			return v.Ephemeral != nil || v.PersistentVolumeClaim != nil && claims[v.PersistentVolumeClaim.ClaimName]
		}) {
			continue
		}
		if err := o.remove(ctx, p); err != nil {
			return fmt.Errorf("pod %s/%s: %w", p.Namespace, p.Name, err)
		}
	}
	return nil
}
