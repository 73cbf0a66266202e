package config

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"

	commonconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// tenantHeader is how Mimir, Cortex and Loki are told whose data is meant.
const tenantHeader = "X-Scope-OrgID"

// Cluster is one cluster that is watched.
type Cluster struct {
	// Name of the cluster, unlike that of all others. It becomes the label `cluster`.
	Name string `yaml:"name"`
	// Labels that routes can match beside `cluster`, such as team or environment.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Where its metrics are.
	Prometheus Prometheus `yaml:"prometheus"`
	// Label matchers added to every query, for a source that holds several clusters:
	// `cluster="eu-1"`.
	Selector string `yaml:"selector,omitempty"`
	// Where its workloads are. Without it, incidents do not know what changed.
	Kubernetes *Kubernetes `yaml:"kubernetes,omitempty"`
	// Which packs this cluster is asked for, instead of those that `packs` says.
	Packs PackChoice `yaml:"packs"`

	// How its source is asked, where that differs from `global`.
	Collection `yaml:",inline"`
}

// Prometheus is the HTTP API of a Prometheus, Thanos, Mimir or VictoriaMetrics.
type Prometheus struct {
	// Address of the API, without /api/v1.
	URL URL `yaml:"url"`
	// Tenant whose data is asked for: the header X-Scope-OrgID.
	Tenant string `yaml:"tenant,omitempty"`

	HTTP commonconfig.HTTPClientConfig `yaml:",inline"`
}

// Kubernetes is the API server of a cluster.
type Kubernetes struct {
	// File with its address and credentials. If only a context is given, the file is that of
	// $KUBECONFIG or ~/.kube/config.
	Kubeconfig string `yaml:"kubeconfig,omitempty"`
	// Context in that file; its current one if empty.
	Context string `yaml:"context,omitempty"`
	// Use the service account of the pod that tocsin runs in.
	InCluster bool `yaml:"in_cluster,omitempty"`
	// Who writes, if that is not who watches: the only one that needs rights to write. See rollback.md.
	ActAs *Identity `yaml:"act_as,omitempty"`
	// Watch only these namespaces.
	Namespaces []string `yaml:"namespaces,omitempty"`
	// Do not watch these namespaces.
	NamespacesIgnored []string `yaml:"namespaces_ignored,omitempty"`
}

// ClusterSource makes a cluster of each context of a kubeconfig file. In `name`, `labels`, `url`,
// `tenant` and `selector`, `${context}` stands for the name of the context and `${1}` for what
// the first group of the expression matched.
type ClusterSource struct {
	// The file; that of $KUBECONFIG or ~/.kube/config if empty. It is read again when it changes.
	Kubeconfig string `yaml:"kubeconfig,omitempty"`
	// File with contexts of the same names whose credentials may write; that above if empty.
	WriterFile string `yaml:"writer_file,omitempty"`
	// Regular expressions; a context belongs if one of them matches its whole name.
	Contexts []string `yaml:"contexts"`
	// Name of the cluster.
	Name string `yaml:"name"`
	// Labels that routes can match.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Where the metrics of each cluster are.
	Prometheus Prometheus `yaml:"prometheus"`
	// Label matchers added to every query.
	Selector string `yaml:"selector,omitempty"`
	// Watch only these namespaces.
	Namespaces []string `yaml:"namespaces,omitempty"`
	// Do not watch these namespaces.
	NamespacesIgnored []string `yaml:"namespaces_ignored,omitempty"`
	// Which packs these clusters are asked for, instead of those that `packs` says.
	Packs PackChoice `yaml:"packs"`

	// How the sources are asked, where that differs from `global`.
	Collection `yaml:",inline"`
}

func (c *Cluster) inherit(_ *decoder, around any, _ *yaml.Node) {
	if root, ok := around.(*Config); ok {
		c.Collection, c.Packs = root.Global.Collection, root.Packs
	}
	c.Prometheus.HTTP = commonconfig.DefaultHTTPClientConfig
}

func (s *ClusterSource) inherit(_ *decoder, around any, _ *yaml.Node) {
	if root, ok := around.(*Config); ok {
		s.Collection, s.Packs = root.Global.Collection, root.Packs
	}
	s.Contexts, s.Name = []string{".+"}, "${context}"
	s.Prometheus.HTTP = commonconfig.DefaultHTTPClientConfig
}

// Client returns how to talk to the API: the HTTP settings with the tenant among the headers.
func (p *Prometheus) Client() commonconfig.HTTPClientConfig {
	if p.Tenant == "" {
		return p.HTTP
	}
	headers := map[string]commonconfig.Header{tenantHeader: {Values: []string{p.Tenant}}}
	if p.HTTP.HTTPHeaders != nil {
		maps.Copy(headers, p.HTTP.HTTPHeaders.Headers)
	}
	client := p.HTTP
	client.HTTPHeaders = &commonconfig.Headers{Headers: headers}
	return client
}

// Clusters returns a cluster for each of the contexts that belongs to s, in their order.
func (s *ClusterSource) Clusters(contexts []string) []Cluster {
	var out []Cluster
	for _, context := range contexts {
		for _, expr := range s.Contexts {
			groups := contextRegexp(expr).FindStringSubmatch(context)
			if groups != nil {
				out = append(out, s.cluster(context, groups))
				break
			}
		}
	}
	return out
}

// contextRegexp compiles an expression that was checked when the file was read.
func contextRegexp(expr string) *regexp.Regexp {
	return regexp.MustCompile("^(?:" + expr + ")$")
}

func (s *ClusterSource) cluster(context string, groups []string) Cluster {
	expand := func(text string) string {
		return os.Expand(text, func(name string) string {
			if name == "context" {
				return context
			}
			if i, err := strconv.Atoi(name); err == nil && i < len(groups) {
				return groups[i]
			}
			return ""
		})
	}
	c := Cluster{
		Name:       expand(s.Name),
		Labels:     maps.Clone(s.Labels),
		Prometheus: s.Prometheus,
		Selector:   expand(s.Selector),
		Packs:      s.Packs,
		Collection: s.Collection,
		Kubernetes: &Kubernetes{
			Kubeconfig:        s.Kubeconfig,
			Context:           context,
			Namespaces:        slices.Clone(s.Namespaces),
			NamespacesIgnored: slices.Clone(s.NamespacesIgnored),
		},
	}
	if s.WriterFile != "" {
		c.Kubernetes.ActAs = &Identity{Kubeconfig: s.WriterFile, Context: context}
	}
	for name, value := range c.Labels {
		c.Labels[name] = expand(value)
	}
	c.Prometheus.URL = URL(expand(string(s.Prometheus.URL)))
	c.Prometheus.Tenant = expand(s.Prometheus.Tenant)
	return c
}
