package app

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strconv"
	"time"

	"k8s.io/client-go/rest"

	"tocsin/collectors"
	"tocsin/collectors/kube"
	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/fleet"
)

// sources are those of one cluster, as they were built last.
type sources struct {
	cluster config.Cluster
	promql  *promql.Source
	kube    *kube.Watcher // Nil if the cluster has no Kubernetes API configured.

	follower *follower // Nil if releases are not followed.
}

// clusterList returns the clusters of the file and those that are found in kubeconfig files. A file that cannot be read
// is an error, for what it named before would be taken for gone.
func clusterList(c *config.Config) ([]config.Cluster, error) {
	out := slices.Clone(c.Clusters)
	var errs []error
	for i, from := range c.ClustersFrom {
		contexts, err := kube.Contexts(from.Kubeconfig)
		if err != nil {
			errs = append(errs, fmt.Errorf("clusters_from[%d]: %w", i, err))
			continue
		}
		out = append(out, from.Clusters(contexts)...)
	}
	seen := make(map[string]bool)
	for _, cluster := range out {
		if seen[cluster.Name] {
			errs = append(errs, fmt.Errorf("two clusters are named %s; give one of them another name", cluster.Name))
		}
		seen[cluster.Name] = true
	}
	return out, errors.Join(errs...)
}

// specs says how the sources of each cluster are built.
func (a *App) specs(c *config.Config, clusters []config.Cluster) ([]collectors.ClusterSpec, error) {
	var out []collectors.ClusterSpec
	gate := make(chan struct{}, 16) // Clusters that hold history, or list their objects, at the same time.
	for _, cluster := range clusters {
		queries, err := queries(c, &cluster)
		if err != nil {
			return nil, err
		}
		pods, err := podQueries(c, &cluster)
		if err != nil {
			return nil, err
		}
		asked := applied{cluster: cluster, queries: queries, pods: pods}
		out = append(out, collectors.ClusterSpec{
			Name: cluster.Name,
			Key:  a.specKey(asked),
			Build: func() ([]collectors.Source, error) {
				return a.buildSources(&asked, gate)
			},
		})
	}
	return out, nil
}

// applied is what the sources of a cluster were last built from.
type applied struct {
	cluster config.Cluster
	queries []promql.Query
	pods    []promql.PodQuery // Asked while a release runs.
	key     string
}

// specKey returns a key that changes when something changes on which a cluster's sources depend, secrets included.
func (a *App) specKey(now applied) string {
	last, ok := a.applied[now.cluster.Name]
	now.key = last.key
	if ok && reflect.DeepEqual(last, now) {
		return last.key
	}
	a.generation++
	now.key = strconv.Itoa(a.generation)
	a.applied[now.cluster.Name] = now
	return now.key
}

// buildSources builds the sources of one cluster.
func (a *App) buildSources(asked *applied, gate chan struct{}) ([]collectors.Source, error) {
	cluster := asked.cluster
	client, err := promql.NewHTTPClient(cluster.Prometheus.Client(), time.Duration(cluster.QueryTimeout))
	if err != nil {
		return nil, fmt.Errorf("build the HTTP client of cluster %s: %w", cluster.Name, err)
	}
	s := &sources{cluster: cluster}
	s.promql, err = promql.New(promql.Options{
		Cluster: cluster.Name, URL: string(cluster.Prometheus.URL), Client: client,
		Queries: asked.queries, Pods: asked.pods, Selector: cluster.Selector,
		Registry: a.registry, Sink: a.engine, Since: a.engine.LastAt(cluster.Name),
		Interval: time.Duration(cluster.Interval), Lag: time.Duration(cluster.Lag), Window: time.Duration(cluster.Window),
		Timeout: time.Duration(cluster.QueryTimeout), Concurrency: cluster.Concurrency,
		Backfill: backfill(cluster, gate),
		Logger:   a.opts.Logger, Reg: a.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("build the source of cluster %s: %w", cluster.Name, err)
	}
	out := []collectors.Source{s.promql}
	if cluster.Kubernetes != nil {
		if s.kube, err = a.buildWatcher(cluster, gate); err != nil {
			return nil, err
		}
		out = append(out, s.kube)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if s.kube != nil && a.config.Releases.Enabled {
		s.follower = a.follows(a.config, s)
		out = append(out, s.follower)
	}
	a.sources[cluster.Name] = s
	return out, nil
}

func backfill(cluster config.Cluster, gate chan struct{}) promql.Backfill {
	b := cluster.Backfill
	if !b.Enabled {
		return promql.Backfill{}
	}
	return promql.Backfill{
		Window: time.Duration(b.Window), MaxPoints: b.MaxPointsPerQuery, MaxQueries: b.MaxQueriesPerSecond, Gate: gate,
	}
}

// buildWatcher builds what watches a cluster's workloads.
func (a *App) buildWatcher(cluster config.Cluster, slots chan struct{}) (*kube.Watcher, error) {
	k := cluster.Kubernetes
	w, err := kube.New(kube.Options{
		Cluster: cluster.Name,
		Load:    func() (*rest.Config, error) { return kube.Config(k.Kubeconfig, k.Context) },
		Report: func(c fleet.Change) {
			if !slices.Contains(k.NamespacesIgnored, c.Service.Namespace) {
				a.recorder.change(c)
			}
		},
		State:      a.watcherState(cluster.Name),
		Namespaces: k.Namespaces,
		Slots:      slots,
		Logger:     a.opts.Logger,
		Reg:        a.reg,
	})
	if err != nil {
		return nil, fmt.Errorf("build the watcher of cluster %s: %w", cluster.Name, err)
	}
	return w, nil
}

// watcherState returns what the last watcher of a cluster remembered: that of a moment ago if there is one, else that
// of the last run, else nothing.
func (a *App) watcherState(cluster string) *kube.State {
	a.mu.RLock()
	s := a.sources[cluster]
	a.mu.RUnlock()
	if s != nil && s.kube != nil {
		return s.kube.State()
	}
	text, err := os.ReadFile(a.watcherFile(cluster))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var state kube.State
	if err == nil {
		err = json.Unmarshal(text, &state)
	}
	if err != nil {
		a.logger.Warn("What was known of the workloads is refused: what exists now is not news",
			"cluster", cluster, "err", err)
		return nil
	}
	return &state
}

// watcherFile returns where the watcher of a cluster keeps what it remembers. Names of clusters are made safe for a
// file name by hashing, as they may hold anything.
func (a *App) watcherFile(cluster string) string {
	h := sha256.Sum256([]byte(cluster))
	return a.path("workloads", hex.EncodeToString(h[:12])+".json")
}
