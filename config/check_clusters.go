package config

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

func (c *Config) checkClusters(d *decoder) {
	if len(c.Clusters) == 0 && len(c.ClustersFrom) == 0 {
		d.failAt("clusters", "clusters: with one item of name and prometheus.url", "no cluster is given")
	}
	names := d.unique("clusters")
	for i := range c.Clusters {
		path := fmt.Sprintf("clusters[%d]", i)
		cluster := &c.Clusters[i]
		cluster.check(d, path)
		if cluster.Collection != c.Global.Collection { // Else it is reported there.
			cluster.Collection.check(d, path)
		}
		names(path+".name", cluster.Name)
	}
	for i := range c.ClustersFrom {
		path := fmt.Sprintf("clusters_from[%d]", i)
		c.ClustersFrom[i].check(d, path)
		if c.ClustersFrom[i].Collection != c.Global.Collection {
			c.ClustersFrom[i].Collection.check(d, path)
		}
	}
}

func (c *Collection) check(d *decoder, path string) {
	d.positive(path+".interval", int(c.Interval))
	d.positive(path+".query_timeout", int(c.QueryTimeout))
	d.positive(path+".concurrency", c.Concurrency)
	d.positive(path+".backfill.window", int(c.Backfill.Window))
	d.positive(path+".backfill.max_points_per_query", c.Backfill.MaxPointsPerQuery)
	if c.Backfill.MaxQueriesPerSecond <= 0 {
		d.failAt(path+".backfill.max_queries_per_second", "a number above 0", "is not above 0")
	}
	if c.Window < c.Interval {
		d.failAt(path+".window", fmt.Sprintf("%s or more", c.Interval),
			"%s is shorter than the interval of %s: samples would never be seen", c.Window, c.Interval)
	}
}

func (c *Cluster) check(d *decoder, path string) {
	d.required(path+".name", c.Name, "a name of your choice")
	if strings.ContainsAny(c.Name, "/ \t\n") {
		d.failAt(path+".name", "letters, digits, - and _", "%q has a slash or a space", c.Name)
	}
	d.labels(path+".labels", c.Labels)
	d.prometheus(path+".prometheus", &c.Prometheus)
	d.selector(path+".selector", c.Selector)
	c.Packs.check(d, path+".packs")
	if c.Kubernetes != nil {
		c.Kubernetes.check(d, path+".kubernetes")
	}
}

func (k *Kubernetes) check(d *decoder, path string) {
	named := k.Kubeconfig != "" || k.Context != ""
	if k.InCluster && named {
		d.failAt(path+".in_cluster", "one of the two", "cannot be with kubeconfig or context")
	}
	if !k.InCluster && !named {
		d.failAt(path, "kubeconfig: FILE, context: NAME or in_cluster: true",
			"does not say where the API server is")
	}
}

func (s *ClusterSource) check(d *decoder, path string) {
	groups := 0
	for i, expr := range s.Contexts {
		re, err := regexp.Compile("^(?:" + expr + ")$")
		if err != nil {
			d.failAt(fmt.Sprintf("%s.contexts[%d]", path, i),
				"a regular expression in RE2 syntax", "%v", err)
			continue
		}
		groups = max(groups, re.NumSubexp())
	}
	if d.required(path+".name", s.Name, "${context}") && !strings.Contains(s.Name, "$") {
		d.failAt(path+".name", "a name with ${context} or ${1} in it", "is the same for all contexts")
	}
	d.labels(path+".labels", s.Labels)
	s.checkTemplates(d, path, groups)
	s.Packs.check(d, path+".packs")
}

// checkTemplates fills the templates in as if there were a context, and looks at what comes out.
func (s *ClusterSource) checkTemplates(d *decoder, path string, groups int) {
	known := []string{"context"}
	matched := []string{"context"}
	for i := range groups {
		known = append(known, fmt.Sprint(i+1))
		matched = append(matched, "group")
	}
	check := func(field, text string) {
		os.Expand(text, func(name string) string {
			if !slices.Contains(known, name) {
				d.failAt(field, "${"+strings.Join(known, "} or ${")+"}", "unknown placeholder $%s", name)
			}
			return ""
		})
	}
	check(path+".name", s.Name)
	check(path+".prometheus.url", string(s.Prometheus.URL))
	check(path+".prometheus.tenant", s.Prometheus.Tenant)
	check(path+".selector", s.Selector)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		check(path+".labels."+name, s.Labels[name])
	}
	c := s.cluster("context", matched)
	d.prometheus(path+".prometheus", &c.Prometheus)
	d.selector(path+".selector", c.Selector)
}

func (d *decoder) prometheus(path string, p *Prometheus) {
	d.url(path+".url", string(p.URL))
	d.http(path, &p.HTTP)
}

func (d *decoder) selector(field, text string) {
	if _, err := ParseSelector(text); err != nil {
		d.failAt(field, `label matchers such as cluster="eu-1"`, "%v", err)
	}
}
