package remediation

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"

	"tocsin/incident"
)

// Route says which receiver hears of an incident, and when. Nothing is inherited but the
// receiver: whoever builds the tree has resolved the rest.
type Route struct {
	Receiver string          // Empty: that of the route around it.
	Matchers labels.Matchers // All must match; a label that is missing is empty.
	Continue bool            // Whether later routes beside this one are tried too.
	Routes   []*Route        // For some incidents; if none matches, the route itself.

	GroupWait      time.Duration // From the opening of an incident to the first message.
	RepeatInterval time.Duration // Between reminders of an open incident; 0: none.
	Mute           []string      // Names of intervals in which nobody is told.
	Active         []string      // Names of intervals outside of which nobody is told.
}

// Policy says who is told of what. It is what a reload changes.
type Policy struct {
	Route       *Route // Nil: nobody is told of anything.
	Receivers   map[string][]Notifier
	Intervals   map[string][]timeinterval.TimeInterval
	MinSeverity incident.Severity // Nobody is told of milder incidents.
}

// policy is a Policy that has been checked.
type policy struct {
	Policy
	intervals *timeinterval.Intervener
}

func newPolicy(p Policy) (*policy, error) {
	var errs []error
	if p.Route != nil {
		root := p.Route.adopt("")
		p.Route = root
		if len(root.Matchers) > 0 {
			errs = append(errs, errors.New("the first route takes all and has no matchers"))
		}
		errs = append(errs, root.check(&p)...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("check routes: %w", err)
	}
	return &policy{p, timeinterval.NewIntervener(p.Intervals)}, nil
}

// adopt returns a copy of the tree in which every route has a receiver.
func (r *Route) adopt(receiver string) *Route {
	own := *r
	if own.Receiver == "" {
		own.Receiver = receiver
	}
	own.Routes = nil
	for _, child := range r.Routes {
		own.Routes = append(own.Routes, child.adopt(own.Receiver))
	}
	return &own
}

func (r *Route) check(p *Policy) []error {
	var errs []error
	if _, ok := p.Receivers[r.Receiver]; !ok {
		errs = append(errs, fmt.Errorf("no receiver %q", r.Receiver))
	}
	for _, names := range [][]string{r.Mute, r.Active} {
		for _, name := range names {
			if _, ok := p.Intervals[name]; !ok {
				errs = append(errs, fmt.Errorf("no time interval %q", name))
			}
		}
	}
	for _, child := range r.Routes {
		errs = append(errs, child.check(p)...)
	}
	return errs
}

// match returns the routes that take what has the given labels, as Alertmanager does it.
func (r *Route) match(set map[string]string) []*Route {
	for _, m := range r.Matchers {
		if !m.Matches(set[m.Name]) {
			return nil
		}
	}
	var all []*Route
	for _, child := range r.Routes {
		found := child.match(set)
		all = append(all, found...)
		if len(found) > 0 && !child.Continue {
			break
		}
	}
	if len(all) == 0 {
		all = []*Route{r}
	}
	return all
}

// routes returns the route by which each receiver hears of an incident: the first that matches. One
// that is about a release in several clusters is for the receivers of all of them.
func (p *policy) routes(
	i *incident.Incident, labels func(cluster string) map[string]string,
) map[string]*Route {
	out := make(map[string]*Route)
	if p.Route == nil || !i.Severity.AtLeast(p.MinSeverity) {
		return out
	}
	p.routesOf(i, i.Service.Cluster, labels(i.Service.Cluster), out)
	if i.Release != nil {
		for _, cluster := range i.Release.Clusters {
			p.routesOf(i, cluster, labels(cluster), out)
		}
	}
	return out
}

// routesOf adds the routes of an incident as if it were in a cluster.
func (p *policy) routesOf(
	i *incident.Incident, cluster string, labels map[string]string, out map[string]*Route,
) {
	set := maps.Clone(labels)
	if set == nil {
		set = make(map[string]string)
	}
	set["cluster"] = cluster
	set["namespace"] = i.Service.Namespace
	set["service"] = i.Service.Name
	set["severity"] = string(i.Severity)
	for _, r := range p.Route.match(set) {
		if out[r.Receiver] == nil {
			out[r.Receiver] = r
		}
	}
}

// muted says whether nobody is to be told now by a route.
func (p *policy) muted(r *Route, now time.Time) bool {
	within := func(names []string) bool {
		in, _, err := p.intervals.Mutes(names, now.UTC())
		return err == nil && in // An unknown name is of a route that a reload has taken away.
	}
	return within(r.Mute) || len(r.Active) > 0 && !within(r.Active)
}
