// Package provisioner makes persistent volumes that are folders of this machine, for a StorageClass that is the cluster's default, and
// removes them with their claims.
package provisioner

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Class is the name of the StorageClass.
const Class = "folder"

const (
	name          = "e2e.escrow/folder"
	isDefault     = "storageclass.kubernetes.io/is-default-class"
	provisioned   = "pv.kubernetes.io/provisioned-by"
	resync        = 2 * time.Second
	volumePrefix  = "pvc-"
	folderForAll  = 0o777
	folderPrivate = 0o755
)

type provisioner struct {
	client kubernetes.Interface
	root   string
}

// Run makes the StorageClass, then serves claims until the context ends.
func Run(ctx context.Context, config *rest.Config, root string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, folderPrivate); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	p := &provisioner{client, root}
	_, err = client.StorageV1().StorageClasses().Create(ctx, &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: Class, Annotations: map[string]string{isDefault: "true"}},
		Provisioner: name,
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("storage class: %w", err)
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	claims, volumes := factory.Core().V1().PersistentVolumeClaims().Informer(), factory.Core().V1().PersistentVolumes().Informer()
	_, claimErr := claims.AddEventHandler(on(func(o any) error { return p.provision(ctx, o.(*corev1.PersistentVolumeClaim)) }))
	_, volumeErr := volumes.AddEventHandler(on(func(o any) error { return p.release(ctx, o.(*corev1.PersistentVolume)) }))
	if err := errors.Join(claimErr, volumeErr); err != nil {
		return err
	}
	factory.StartWithContext(ctx)
	<-ctx.Done()
	factory.Shutdown()
	return nil
}

// on calls f for what is new or changed. What fails is tried again with the next resync.
func on(f func(any) error) cache.ResourceEventHandler {
	call := func(o any) {
		if err := f(o); err != nil {
			slog.Error("provisioner", "error", err)
		}
	}
	return cache.ResourceEventHandlerFuncs{AddFunc: call, UpdateFunc: func(_, o any) { call(o) }}
}

// provision makes the volume of a claim of this class.
func (p *provisioner) provision(ctx context.Context, c *corev1.PersistentVolumeClaim) error {
	if c.Spec.StorageClassName == nil || *c.Spec.StorageClassName != Class || c.Spec.VolumeName != "" || c.DeletionTimestamp != nil {
		return nil
	}
	volume := volumePrefix + string(c.UID)
	folder := filepath.Join(p.root, volume)
	// Everybody may write: pods run as whom they like.
	if err := errors.Join(os.MkdirAll(folder, folderForAll), os.Chmod(folder, folderForAll)); err != nil {
		return err
	}
	_, err := p.client.CoreV1().PersistentVolumes().Create(ctx, &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: volume, Annotations: map[string]string{provisioned: name}},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName:              Class,
			AccessModes:                   c.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: c.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim", Namespace: c.Namespace, Name: c.Name, UID: c.UID,
			},
		},
	}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("claim %s/%s: %w", c.Namespace, c.Name, err)
	}
	return nil
}

// release removes a volume whose claim is gone.
func (p *provisioner) release(ctx context.Context, v *corev1.PersistentVolume) error {
	if v.Annotations[provisioned] != name || v.Status.Phase != corev1.VolumeReleased || v.DeletionTimestamp != nil {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(p.root, v.Name)); err != nil {
		return err
	}
	err := p.client.CoreV1().PersistentVolumes().Delete(ctx, v.Name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("volume %s: %w", v.Name, err)
	}
	return nil
}
