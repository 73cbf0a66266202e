package rollback

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Stopped reads a ConfigMap of the cluster by which people stop all actions there: its key `paused`
// says anything but false. It returns why, or nothing if there is no such ConfigMap, or it says
// nothing.
func (e *Executor) Stopped(ctx context.Context, namespace, name string) (why string, err error) {
	m, err := e.typed.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		r := &Request{Target: Target{
			Cluster: e.opts.Cluster, Kind: "ConfigMap", Namespace: namespace, Name: name,
		}}
		return "", fmt.Errorf("read the kill switch: %w",
			r.explain(err, "get", core("configmaps"), namespace))
	}
	switch paused := strings.TrimSpace(m.Data["paused"]); strings.ToLower(paused) {
	case "", "false", "no", "0":
		return "", nil
	}
	why = fmt.Sprintf("ConfigMap %s/%s stops all actions in %s", namespace, name, e.opts.Cluster)
	if m.Data["why"] != "" {
		why += ": " + m.Data["why"]
	}
	return why, nil
}
