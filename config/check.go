package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"
)

// check reports all that decoding could not see.
func (c *Config) check(d *decoder) {
	c.Global.check(d, "global")
	d.positive("global.max_series_per_cluster", c.Global.MaxSeriesPerCluster)
	c.checkClusters(d)
	c.Packs.check(d, "packs")
	c.checkSignals(d)
	c.checkPods(d)
	c.Alerting.check(d)
	c.Detection.check(d)
	c.Incidents.check(d)
	c.Releases.check(d)
	c.checkRemediation(d)
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
	d.positive("incidents.group_wait", int(x.GroupWait))
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

func (d *decoder) labels(path string, labels map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !model.LegacyValidation.IsValidLabelName(name) {
			d.failAt(path+"."+name, "letters, digits and _", "%q is not a label name", name)
		}
	}
}
