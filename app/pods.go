package app

import (
	"fmt"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
)

// podQueries returns what one cluster is asked for while a release runs in it.
func podQueries(c *config.Config, cluster *config.Cluster) ([]promql.PodQuery, error) {
	resolved, err := c.PodQueries(cluster)
	if err != nil {
		return nil, fmt.Errorf("queries of cluster %s: %w", cluster.Name, err)
	}
	out := make([]promql.PodQuery, len(resolved))
	for i, q := range resolved {
		out[i] = promql.PodQuery{
			Name:           q.Metric, // Both write requests, errors, ...
			Set:            q.Set.Name,
			Pack:           q.Set.Pack,
			Expr:           q.Expr,
			Total:          q.Total,
			Probe:          q.Probe,
			Metrics:        q.Metrics,
			Unit:           time.Second,
			Namespace:      q.Set.NamespaceLabels,
			Pod:            q.Set.PodLabels,
			TotalNamespace: q.TotalNamespace,
			TotalService:   q.TotalService,
		}
		if q.Total != "" {
			out[i].NarrowNamespace = first(q.Set.ServiceNamespaceLabels)
			out[i].NarrowService = first(q.Set.ServiceLabels)
		}
		if q.Set.LatencyUnit == "ms" {
			out[i].Unit = time.Millisecond
		}
	}
	return out, nil
}

// first returns the first of labels: where a series has it, no other one counts.
func first(labels []string) string {
	if len(labels) == 0 {
		return ""
	}
	return labels[0]
}
