package main

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/escrow-backup/escrow/examples/operator/kube"
)

const kubeconfigUsage = "`FILE` that says how to reach the API (default $KUBECONFIG, or else the pod's own account)"

// restConfig is how to reach the API.
func restConfig(kubeconfig string) (*rest.Config, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("how to reach the API: %w", err)
	}
	if config.QPS == 0 {
		// Or else five requests a second: how many are too many is for the API's own priorities and fairness to say.
		config.QPS = -1
	}
	return config, nil
}

func connect(kubeconfig string) (*rest.Config, client.Client, error) {
	config, err := restConfig(kubeconfig)
	if err != nil {
		return nil, nil, err
	}
	scheme, err := kube.Scheme()
	if err != nil {
		return nil, nil, err
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, nil, fmt.Errorf("reach the API: %w", err)
	}
	return config, c, nil
}
