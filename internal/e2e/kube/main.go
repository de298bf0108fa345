// Command kube is a Kubernetes cluster in one program, for tests: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler linked from their published modules, a kubelet that runs pods as processes of this machine, and a provisioner
// whose volumes are folders. The first argument says which of them to be; the others are its flags.
//
// It takes minutes to compile, so it is a module of its own that nothing imports and that stands outside of go.work. Package
// servers builds it once, keeps it by a hash of this folder, and starts clusters of it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // what clients measure
	_ "k8s.io/component-base/metrics/prometheus/version"  // build information
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/escrow-backup/escrow/internal/e2e/kube/kubelet"
	"github.com/escrow-backup/escrow/internal/e2e/kube/provisioner"
)

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, "usage: kube etcd|apiserver|controller-manager|scheduler|kubelet|provisioner [flags]")
		os.Exit(2)
	}
	part := os.Args[1]
	os.Args = append([]string{"kube-" + part}, os.Args[2:]...)
	switch part {
	case "etcd":
		etcdmain.Main(os.Args)
	case "apiserver":
		os.Exit(upstream(apiserver.NewAPIServerCommand()))
	case "controller-manager":
		os.Exit(upstream(controllers.NewControllerManagerCommand()))
	case "scheduler":
		os.Exit(upstream(scheduler.NewSchedulerCommand()))
	case kubelet.ContainerCommand:
		kubelet.BecomeContainer() // does not return
	case "kubelet", "provisioner":
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
		defer stop()
		run := runKubelet
		if part == "provisioner" {
			run = runProvisioner
		}
		if err := run(ctx, os.Args[1:]); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", part, err)
			os.Exit(1)
		}
	default:
		fmt.Fprintf(os.Stderr, "kube: there is no %q\n", part)
		os.Exit(2)
	}
}

func upstream(cmd *cobra.Command) int { return cli.Run(cmd) }

// images are flags of the form NAME=PROGRAM.
type images map[string]string

func (i images) String() string { return fmt.Sprint(map[string]string(i)) }

func (i images) Set(value string) error {
	name, program, found := strings.Cut(value, "=")
	if !found {
		return errors.New("want NAME=PROGRAM")
	}
	i[name] = program
	return nil
}

func runKubelet(ctx context.Context, args []string) error {
	o := kubelet.Options{Images: images{}}
	flags := flag.NewFlagSet("kubelet", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API")
	flags.StringVar(&o.Root, "root", "", "where logs, volumes and everything else is kept")
	flags.Var(images(o.Images), "image", "NAME=PROGRAM: what an image holds, its entry point (repeatable)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := client(*kubeconfig)
	if err != nil {
		return err
	}
	return kubelet.Run(ctx, config, &o)
}

func runProvisioner(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("provisioner", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the API")
	root := flags.String("root", "", "where the volumes' folders are made")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := client(*kubeconfig)
	if err != nil {
		return err
	}
	return provisioner.Run(ctx, config, *root)
}

func client(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS, config.Burst = 100, 200
	return config, nil
}
