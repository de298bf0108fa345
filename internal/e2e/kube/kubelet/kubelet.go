package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// Node is the name of the node. The kubelet's user must be system:node: with it.
const Node = "local"

// heartbeat is how often the node says that it is well; the cluster gives up on it after fifty seconds.
const heartbeat = 10 * time.Second

// Options are what a kubelet needs to know.
type Options struct {
	// Root is the folder for everything that is kept: logs/NAMESPACE/POD/CONTAINER.RESTARTS.log and pods/UID.
	Root string

	// Images maps the name of an image to the path of the program that is its entry point. An image that is not here has
	// none: its containers must have a command, of what the machine offers.
	Images map[string]string
}

type kubelet struct {
	client  kubernetes.Interface
	options *Options
	apiHost string
	apiPort string

	running sync.WaitGroup

	mu   sync.Mutex
	pods map[types.UID]*pod
}

// Run registers the node and runs the pods that are bound to it until the context ends. Then it kills them, and returns when
// none of their processes is left.
func Run(ctx context.Context, config *rest.Config, o *Options) error {
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	server, err := url.Parse(config.Host)
	if err != nil {
		return fmt.Errorf("address of the API %q: %w", config.Host, err)
	}
	k := &kubelet{options: &Options{Root: root, Images: o.Images}, pods: map[types.UID]*pod{}}
	if k.apiHost, k.apiPort, err = net.SplitHostPort(server.Host); err != nil {
		return fmt.Errorf("address of the API %q: %w", config.Host, err)
	}
	if k.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if err := k.register(ctx); err != nil {
		return fmt.Errorf("register node: %w", err)
	}
	go k.beat(ctx)

	factory := informers.NewSharedInformerFactoryWithOptions(k.client, 30*time.Second,
		informers.WithTweakListOptions(func(o *metav1.ListOptions) {
			o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", Node).String()
		}))
	informer := factory.Core().V1().Pods().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { k.sync(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { k.sync(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if p, ok := o.(*corev1.Pod); ok {
				k.gone(p)
			}
		},
	})
	if err != nil {
		return err
	}
	informer.RunWithContext(ctx)
	k.killAll()
	k.running.Wait()
	return nil
}

// register creates the node.
func (k *kubelet) register(ctx context.Context) error {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: Node, Labels: map[string]string{
		corev1.LabelHostname: Node, corev1.LabelOSStable: runtime.GOOS, corev1.LabelArchStable: runtime.GOARCH,
	}}}
	_, err := k.client.CoreV1().Nodes().Create(ctx, node, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return k.report(ctx)
}

func (k *kubelet) beat(ctx context.Context) {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := k.report(ctx); err != nil && ctx.Err() == nil {
			slog.Error("heartbeat", "error", err)
		}
	}
}

// report says that the node is ready, and promises far more than it has: nothing is ever limited.
func (k *kubelet) report(ctx context.Context) error {
	nodes := k.client.CoreV1().Nodes()
	node, err := nodes.Get(ctx, Node, metav1.GetOptions{})
	if err != nil {
		return err
	}
	capacity := corev1.ResourceList{
		corev1.ResourceCPU:              resource.MustParse("64"),
		corev1.ResourceMemory:           resource.MustParse("64Gi"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
		corev1.ResourcePods:             resource.MustParse("500"),
	}
	node.Status.Capacity, node.Status.Allocatable = capacity, capacity
	node.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "127.0.0.1"}}
	node.Status.Conditions = []corev1.NodeCondition{{
		Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady",
		LastHeartbeatTime: metav1.Now(), LastTransitionTime: node.CreationTimestamp,
	}}
	_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
	return err
}

// sync brings what runs in line with a pod as the API has it.
func (k *kubelet) sync(ctx context.Context, object *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if ctx.Err() != nil {
		return
	}
	p, known := k.pods[object.UID]
	switch {
	case known && object.DeletionTimestamp != nil:
		p.terminate(object.DeletionGracePeriodSeconds)
	case known, object.DeletionTimestamp == nil && ended(object):
	default:
		p = newPod(k, object.DeepCopy())
		k.pods[object.UID] = p
		if object.DeletionTimestamp != nil {
			p.terminate(object.DeletionGracePeriodSeconds)
		}
		// The pod outlives the context of the kubelet until its processes are gone.
		k.running.Go(func() { p.run(context.WithoutCancel(ctx)) })
	}
}

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// gone ends a pod that was removed by force.
func (k *kubelet) gone(object *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if p, known := k.pods[object.UID]; known {
		p.terminate(new(int64))
		delete(k.pods, object.UID)
	}
}

func (k *kubelet) killAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, p := range k.pods {
		p.terminate(new(int64))
		p.silence()
	}
}

// optional reports whether something may be missing.
func optional(flag *bool, err error) bool {
	return flag != nil && *flag && (apierrors.IsNotFound(err) || errors.Is(err, errNoKey))
}

var errNoKey = errors.New("no such key")
