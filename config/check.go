package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"
)

// check reports all that decoding could not see.
func (c *Config) check(d *decoder) {
	c.Global.check(d, "global")
	d.positive("global.max_series_per_cluster", c.Global.MaxSeriesPerCluster)
	c.checkClusters(d)
	c.Packs.check(d, "packs")
	c.checkSignals(d)
	c.Detection.check(d)
	c.Incidents.check(d)
	c.checkNotification(d)
	c.Storage.check(d)
	c.checkSettings(d)
}

func (c *Config) checkSettings(d *decoder) {
	d.choice("log.level", c.Log.Level, logLevels)
	d.choice("log.format", c.Log.Format, logFormats)
	d.required("web.listen_address", c.Web.ListenAddress, "an address such as :9977")
	d.required("storage.path", c.Storage.Path, "the path of a folder")
	if c.Web.ExternalURL != "" {
		d.url("web.external_url", c.Web.ExternalURL)
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

func (c *Cluster) check(d *decoder, path string) {
	if d.required(path+".name", c.Name, "a name of your choice") && strings.ContainsAny(c.Name, "/ \t\n") {
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
			d.failAt(fmt.Sprintf("%s.contexts[%d]", path, i), "a regular expression in RE2 syntax", "%v", err)
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

func (p PackChoice) check(d *decoder, path string) {
	names := make([]string, len(d.packs))
	for i, pack := range d.packs {
		names[i] = pack.Name
	}
	known := func(field string, list []string) {
		for i, name := range list {
			d.choice(fmt.Sprintf("%s[%d]", field, i), name, names)
		}
	}
	if !p.Auto() && d.given(path+".enabled") { // Else it is reported where it is inherited from.
		known(path+".enabled", p.Enabled)
	}
	if d.given(path + ".disabled") {
		known(path+".disabled", p.Disabled)
	}
}

func (c *Config) checkSignals(d *decoder) {
	all := mergeSignals(d.packs, c.Signals)
	names := make([]string, len(all))
	needed := make(map[string][]string) // The enabled signals that refer to one.
	for i, s := range all {
		names[i] = s.Name
		for _, other := range []string{s.Volume, s.ZeroWith} {
			if s.Enabled && !slices.Contains(needed[other], s.Name) {
				needed[other] = append(needed[other], s.Name)
			}
		}
	}
	unique := d.unique("signals")
	for i, s := range c.Signals {
		path := fmt.Sprintf("signals[%d]", i)
		unique(path+".name", s.Name)
		s.check(d, path)
		if s.Volume != "" {
			d.choice(path+".volume", s.Volume, names)
		}
		if s.ZeroWith != "" {
			d.choice(path+".zero_with", s.ZeroWith, names)
		}
		if by := needed[s.Name]; !s.Enabled && len(by) > 0 {
			d.failAt(path+".enabled", "the same for them", "%s cannot do without it", strings.Join(by, ", "))
		}
	}
}

var signalName = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

func (s Signal) check(d *decoder, path string) {
	if d.required(path+".name", s.Name, "a name such as checkout_errors") && !signalName.MatchString(s.Name) {
		d.failAt(path+".name", "lower-case letters, digits and _", "%q is not a name of a signal", s.Name)
	}
	if d.required(path+".kind", s.Kind, "one of "+strings.Join(kinds, ", ")) {
		d.choice(path+".kind", s.Kind, kinds)
	}
	if d.required(path+".bad", s.Bad, "up, down or both") {
		d.choice(path+".bad", s.Bad, directions)
	}
	if d.required(path+".query", s.Query, "PromQL") {
		d.query(path+".query", s)
	}
	for _, f := range []struct {
		name  string
		value float64
	}{
		{"min_volume", s.MinVolume},
		{"min_effect", s.MinEffect},
		{"min_effect_relative", s.MinEffectRelative},
	} {
		if !(f.value >= 0) {
			d.failAt(path+"."+f.name, "0 or more", "%g is below 0", f.value)
		}
	}
	if s.MinVolume > 0 && s.Volume == "" {
		d.failAt(path+".min_volume", "volume too", "needs the name of the signal in volume")
	}
	d.labelNames(path+".namespace_labels", s.NamespaceLabels)
	d.labelNames(path+".service_labels", s.ServiceLabels)
	if len(s.ServiceLabels) == 0 {
		d.failAt(path+".service_labels", "the label that names the service", "is empty")
	}
}

func (x *Detection) check(d *decoder) {
	if !(x.CloseScore > 0) {
		d.failAt("detection.close_score", "a number above 0", "is not above 0")
	}
	if !(x.OpenScore >= x.CloseScore && x.OpenScore <= 30) {
		d.failAt("detection.open_score", "a number from close_score to 30",
			"%g is not between the close_score of %g and 30", x.OpenScore, x.CloseScore)
	}
	d.positive("detection.open_after", x.OpenAfter)
	if x.OpenOf < x.OpenAfter || x.OpenOf > 8 {
		d.failAt("detection.open_of", "a number from open_after to 8",
			"%d is not between the open_after of %d and 8", x.OpenOf, x.OpenAfter)
	}
	d.positive("detection.close_after", x.CloseAfter)
	if x.WarmUp < 2 {
		d.failAt("detection.warm_up", "2 or more", "%d samples teach nothing", x.WarmUp)
	}
	d.positive("detection.stale_after", int(x.StaleAfter))
	if x.ForgetAfter < x.StaleAfter {
		d.failAt("detection.forget_after", fmt.Sprintf("%s or more", x.StaleAfter),
			"%s is shorter than the stale_after of %s", x.ForgetAfter, x.StaleAfter)
	}
	d.positive("detection.absorb_after", int(x.AbsorbAfter))
	if time.Duration(x.Period) < time.Minute {
		d.failAt("detection.period", "1m or more", "%s is too short", x.Period)
	}
}

func (x *Incidents) check(d *decoder) {
	d.choice("incidents.min_severity", x.MinSeverity, []string{"info", "warning", "critical"})
}

func (s *Storage) check(d *decoder) {
	d.positive("storage.retention", int(s.Retention))
	d.positive("storage.journal_retention", int(s.JournalRetention))
	d.positive("storage.snapshot_interval", int(s.SnapshotInterval))
	if s.DetailSignals < 0 {
		d.failAt("storage.detail_signals", "0 or more", "%d is below 0", s.DetailSignals)
	}
}

// required reports a field that is empty.
func (d *decoder) required(field, value, want string) bool {
	if value == "" {
		d.failAt(field, want, "is missing or empty")
	}
	return value != ""
}

func (d *decoder) positive(field string, value int) {
	if value <= 0 {
		d.failAt(field, "more than 0", "is not above 0")
	}
}

func (d *decoder) choice(field, value string, values []string) {
	if slices.Contains(values, value) {
		return
	}
	want := nearest(value, values)
	switch {
	case want != "":
	case len(values) == 1:
		want = values[0]
	case len(values) <= 12:
		want = "one of " + strings.Join(values, ", ")
	default:
		want = "the name of one that exists"
	}
	d.failAt(field, want, "unknown value %q", value)
}

// unique returns what must see each name of a list once.
func (d *decoder) unique(list string) func(field, name string) {
	seen := make(map[string]string)
	return func(field, name string) {
		if first, ok := seen[name]; ok && name != "" {
			d.failAt(field, "another name", "%q is already the name of an item of %s on line %d",
				name, list, d.line(first))
			return
		}
		seen[name] = field
	}
}

func (d *decoder) url(field, text string) {
	if !d.required(field, text, "a URL such as http://prometheus.monitoring:9090") {
		return
	}
	if err := checkURL(text); err != nil {
		d.failAt(field, "a URL such as http://prometheus.monitoring:9090", "%v", err)
	}
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

func (d *decoder) labels(path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !model.LegacyValidation.IsValidLabelName(name) {
			d.failAt(path+"."+name, "letters, digits and _", "%q is not a label name", name)
		}
	}
}

func (d *decoder) labelNames(path string, names []string) {
	for i, name := range names {
		if !model.LegacyValidation.IsValidLabelName(name) {
			d.failAt(fmt.Sprintf("%s[%d]", path, i), "letters, digits and _", "%q is not a label name", name)
		}
	}
}

// query reports an error of PromQL at the line that it is on.
func (d *decoder) query(field string, s Signal) {
	_, err := s.checkQuery()
	if err == nil {
		return
	}
	want := ""
	if strings.Contains(s.Query, "$__") {
		want = "$window or $interval for the variables of Grafana"
	}
	err = shortError(err)
	line := d.line(field)
	var at *parser.ParseErr
	if n := d.values[field]; n != nil && errors.As(err, &at) && (n.Style == literalStyle) {
		before := s.Query[:min(int(at.PositionRange.Start), len(s.Query))]
		line += 1 + strings.Count(before, "\n")
	}
	d.fail(line, field, want, "not PromQL: %v", err)
}
