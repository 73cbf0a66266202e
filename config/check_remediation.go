package config

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
)

// What the fields of remediation may say.
const byAsking = "ask"

var (
	modes         = []string{"observe", "ask", "auto"}
	actionKinds   = []string{"pause", "rollback", "webhook"}
	workloadKinds = []string{"Deployment", "StatefulSet", "DaemonSet", "Rollout"}
)

func (c *Config) checkRemediation(d *decoder) {
	r := &c.Remediation
	rule := RemediationRule{Mode: r.Mode, MaxMode: r.MaxMode, Actions: r.Actions, Owners: r.Owners}
	c.checkRule(d, "remediation", &rule)
	for i := range r.Rules {
		field := fmt.Sprintf("remediation.rules[%d]", i)
		c.checkRule(d, field, &r.Rules[i])
		c.checkWhere(d, field+".match", &r.Rules[i].Match)
		if i+1 < len(r.Rules) && r.Rules[i].Match.all() {
			d.failAt(field+".match", "it as the last rule", "it matches everything: later rules never count")
		}
	}
	r.checkTimes(d)
	r.checkBounds(d)
	for _, list := range []struct {
		name    string
		windows []Window
	}{{"freeze", r.Freeze}, {"maintenance", r.Maintenance}} {
		for i := range list.windows {
			c.checkWindow(d, fmt.Sprintf("remediation.%s[%d]", list.name, i), &list.windows[i])
		}
	}
	if (r.KillSwitch.Namespace == "") != (r.KillSwitch.Name == "") {
		d.failAt("remediation.kill_switch", "both, or none of them", "namespace or name is missing")
	}
	r.checkDependencies(d)
	if r.Webhook != nil {
		hook := Webhook{
			URL: r.Webhook.URL, URLFile: r.Webhook.URLFile, Secret: r.Webhook.Secret,
			SecretFile: r.Webhook.SecretFile, HTTP: r.Webhook.HTTP,
		}
		hook.check(d, "remediation.webhook")
	}
}

// checkRule checks what may be done.
func (c *Config) checkRule(d *decoder, field string, r *RemediationRule) {
	d.choice(field+".mode", r.Mode, modes)
	if r.MaxMode != "" {
		d.choice(field+".max_mode", r.MaxMode, modes)
		if most := slices.Index(modes, r.MaxMode); most >= 0 && most < slices.Index(modes, r.Mode) {
			d.failAt(field+".max_mode", r.Mode+", or leave it out", "%s is below the mode %s",
				r.MaxMode, r.Mode)
		}
	}
	for i, kind := range r.Actions {
		d.choice(fmt.Sprintf("%s.actions[%d]", field, i), kind, actionKinds)
	}
	if slices.Contains(r.Actions, "webhook") && c.Remediation.Webhook == nil {
		d.failAt(field+".actions", "remediation.webhook with a url", "there is no webhook to call")
	}
	d.choice(field+".owners.helm", r.Owners.Helm, []string{byAsking, "drift"})
	d.choice(field+".owners.argo_cd", r.Owners.ArgoCD, []string{byAsking, "suspend"})
	d.choice(field+".owners.flux", r.Owners.Flux, []string{byAsking, "suspend"})
	d.positive(field+".owners.hold", int(r.Owners.Hold))
}

func (r *Remediation) checkTimes(d *decoder) {
	for _, t := range []struct {
		name  string
		value Duration
	}{
		{"approval_expiry", r.ApprovalExpiry},
		{"evidence_age", r.EvidenceAge},
		{"soak", r.Soak},
		{"cool_down", r.CoolDown},
		{"relapse", r.Relapse},
		{"storm.window", r.Storm.Window},
		{"storm.freeze", r.Storm.Freeze},
	} {
		d.positive("remediation."+t.name, int(t.value))
	}
	if r.Confirm < 0 {
		d.failAt("remediation.confirm", "0s or more", "is below 0")
	}
}

func (r *Remediation) checkBounds(d *decoder) {
	for _, n := range []struct {
		name  string
		value int
	}{
		{"limits_per_hour.cluster", r.Limits.Cluster},
		{"limits_per_hour.team", r.Limits.Team},
		{"limits_per_hour.fleet", r.Limits.Fleet},
		{"storm.releases", r.Storm.Releases},
		{"breaker", r.Breaker},
	} {
		d.positive("remediation."+n.name, n.value)
	}
	if !(r.Storm.Share > 0 && r.Storm.Share <= 1) {
		d.failAt("remediation.storm.share", "a share such as 0.05",
			"%g is not above 0, or is more than 1", r.Storm.Share)
	}
}

func (c *Config) checkWindow(d *decoder, field string, w *Window) {
	intervals := make([]string, len(c.TimeIntervals))
	for i, t := range c.TimeIntervals {
		intervals[i] = t.Name
	}
	if len(w.Intervals) == 0 {
		d.failAt(field+".intervals", "[the name of a time interval]", "is missing or empty")
	}
	for i, name := range w.Intervals {
		at := fmt.Sprintf("%s.intervals[%d]", field, i)
		if len(intervals) == 0 {
			d.failAt(at, "time_intervals: with one of this name", "time interval %q is not defined", name)
			continue
		}
		d.choice(at, name, intervals)
	}
	c.checkWhere(d, field+".match", &w.Match)
}

func (w *Where) all() bool {
	return len(w.Clusters)+len(w.Namespaces)+len(w.Teams)+len(w.Services)+len(w.Kinds) == 0
}

// checkWhere reports patterns that nothing can match: they protect or free nobody.
func (c *Config) checkWhere(d *decoder, field string, w *Where) {
	clusters := make([]string, len(c.Clusters))
	for i := range c.Clusters {
		clusters[i] = c.Clusters[i].Name
	}
	if len(c.ClustersFrom) > 0 {
		clusters = nil // Their names are known only when it runs.
	}
	teams := make([]string, len(c.Alerting.Teams))
	for i, t := range c.Alerting.Teams {
		teams[i] = t.Name
	}
	d.patterns(field+".clusters", w.Clusters, clusters, "cluster")
	d.patterns(field+".namespaces", w.Namespaces, c.watched(), "watched namespace")
	d.patterns(field+".teams", w.Teams, teams, "team of alerting.teams")
	d.patterns(field+".services", w.Services, nil, "")
	d.patterns(field+".kinds", w.Kinds, workloadKinds, "kind of workload")
}

// watched returns the namespaces that are watched, nil if they are not listed.
func (c *Config) watched() []string {
	var out []string
	for i := range c.Clusters {
		k := c.Clusters[i].Kubernetes
		if k != nil && len(k.Namespaces) == 0 {
			return nil
		}
		if k != nil {
			out = append(out, k.Namespaces...)
		}
	}
	if len(c.ClustersFrom) > 0 {
		return nil
	}
	return out
}

// patterns reports what is no pattern, and what matches none of the names if there are any.
func (d *decoder) patterns(field string, list, names []string, what string) {
	for i, pattern := range list {
		at := fmt.Sprintf("%s[%d]", field, i)
		_, err := path.Match(pattern, "")
		if pattern == "" || err != nil || strings.ContainsAny(pattern, "/ ") {
			d.failAt(at, "a name, or a pattern such as pay-*", "%q is not a pattern of names", pattern)
			continue
		}
		matches := func(name string) bool {
			ok, err := path.Match(pattern, name)
			return ok && err == nil
		}
		if len(names) > 0 && !slices.ContainsFunc(names, matches) {
			want := nearest(pattern, names)
			if want == "" {
				want = "one of " + strings.Join(names, ", ")
			}
			d.failAt(at, want, "%q matches no %s", pattern, what)
		}
	}
}

func (r *Remediation) checkDependencies(d *decoder) {
	name := func(field, text string) {
		if text == "" || strings.Count(text, "/") > 1 || strings.ContainsAny(text, "* ") {
			d.failAt(field, "namespace/name, or name", "%q is not the name of a service", text)
		}
	}
	for _, caller := range slices.Sorted(maps.Keys(r.Dependencies)) {
		field := "remediation.dependencies." + caller
		name(field, caller)
		for i, called := range r.Dependencies[caller] {
			name(fmt.Sprintf("%s[%d]", field, i), called)
		}
	}
}
