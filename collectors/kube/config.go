package kube

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Config returns how to reach the cluster of a kubeconfig's context. With no kubeconfig, the one of
// $KUBECONFIG or of the home folder is read; with no context, its current one is meant; with
// neither, the cluster that the process runs in.
func Config(kubeconfig, context string) (*rest.Config, error) {
	if kubeconfig == "" && context == "" {
		config, err := rest.InClusterConfig()
		if errors.Is(err, rest.ErrNotInCluster) {
			return nil, errors.New("find the Kubernetes API: not in a cluster; name a kubeconfig or a context")
		}
		return config, err
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	overrides := &clientcmd.ConfigOverrides{CurrentContext: context}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides)
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("read context %q of kubeconfig %q: %w", context, kubeconfig, err)
	}
	return config, nil
}

// Contexts returns the names of a kubeconfig's contexts, sorted.
func Contexts(kubeconfig string) ([]string, error) {
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = kubeconfig
	config, err := rules.Load()
	if err != nil {
		return nil, fmt.Errorf("read kubeconfig %q: %w", kubeconfig, err)
	}
	return slices.Sorted(maps.Keys(config.Contexts)), nil
}

// prepare returns config with what a long watch needs and its owner does not care about.
func prepare(config *rest.Config) *rest.Config {
	c := rest.CopyConfig(config)
	c.QPS, c.Burst = 5, 10 // Of lists, not of watches. The transport slows all down when they fail.
	c.Timeout = 0          // It would end watches, too.
	c.ContentType = "application/vnd.kubernetes.protobuf"
	c.AcceptContentTypes = "application/vnd.kubernetes.protobuf,application/json"
	c.WarningHandler = rest.NoWarnings{}
	if c.UserAgent == "" {
		c.UserAgent = "tocsin"
	}
	return c
}

// sameAccess says whether two configurations reach the same server as the same user.
func sameAccess(a, b *rest.Config) bool {
	access := func(c *rest.Config) []any {
		return []any{
			c.Host, c.APIPath, c.Username, c.Password, c.BearerToken, c.BearerTokenFile,
			c.Impersonate, c.TLSClientConfig, c.ExecProvider, c.AuthProvider,
		}
	}
	return reflect.DeepEqual(access(a), access(b))
}
