package main

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"tocsin/detector"
	"tocsin/incident"
	"tocsin/release"
)

// serviceSheet is a service for people, with what is open about it.
type serviceSheet struct {
	Service   detector.ServiceStatus `json:"service"`
	Incidents []incident.Incident    `json:"incidents"` // That are open, the newest first.
	Releases  []release.Record       `json:"releases"`  // The newest first.
}

// lastReleases is how many releases of a service are shown.
const lastReleases = 5

// describeService finds a service by its name, or by the end of it.
func describeService(ctx context.Context, c *client, name string) (describer, error) {
	parts := strings.Split(name, "/")
	if len(parts) > 3 {
		return nil, fmt.Errorf("%w: service %q: want cluster/namespace/service", errBadInput, name)
	}
	query := url.Values{"service": {parts[len(parts)-1]}}
	if len(parts) > 1 {
		query.Set("namespace", parts[len(parts)-2])
	}
	if len(parts) == 3 {
		query.Set("cluster", parts[0])
	}
	found, err := list[detector.ServiceStatus](ctx, c, "services", query, maxPage)
	if err != nil {
		return nil, err
	}
	switch len(found) {
	case 0:
		return nil, fmt.Errorf("%w: there is no service %s; tocsin get services lists them",
			errBadInput, name)
	case 1:
		return (&serviceSheet{Service: found[0]}).complete(ctx, c)
	}
	var names []string
	for _, s := range found[:min(len(found), 5)] {
		names = append(names, s.Service.String())
	}
	return nil, fmt.Errorf("%w: %d services are called %s: write one of %s",
		errBadInput, len(found), name, strings.Join(names, ", "))
}

// complete reads what is open about the service.
func (x *serviceSheet) complete(ctx context.Context, c *client) (describer, error) {
	s := x.Service.Service
	query := url.Values{"cluster": {s.Cluster}, "namespace": {s.Namespace}, "service": {s.Name}}
	x.Incidents, x.Releases = []incident.Incident{}, []release.Record{}
	for _, state := range []incident.State{incident.Open, incident.Acknowledged} {
		query.Set("state", string(state))
		open, err := list[incident.Incident](ctx, c, "incidents", query, maxPage)
		if err != nil {
			return nil, err
		}
		x.Incidents = append(x.Incidents, open...)
	}
	query.Del("state")
	releases, err := list[release.Record](ctx, c, "releases", query, lastReleases)
	if err != nil && !unavailable(err) {
		return nil, err
	}
	x.Releases = append(x.Releases, releases...)
	return x, nil
}

// unavailable tells whether an error says that the daemon does not do such a thing.
func unavailable(err error) bool { return answered(err, http.StatusServiceUnavailable) }

func (x *serviceSheet) describe(s *sheet) {
	s.fact("Service", x.Service.Service.String())
	s.fact("Score", score(float64(x.Service.Score))+" at "+when(x.Service.At))
	if b := x.Service.Budget; b != nil {
		s.fact("Pages", fmt.Sprintf("%.2f a week of %.2f that %s may cost; threshold %.2f",
			b.Achieved, b.Asked, b.Unit, b.Threshold))
	}
	rows := make([]row, 0, len(x.Service.Signals))
	for i := range x.Service.Signals {
		rows = append(rows, signalRow(&x.Service.Signals[i]))
	}
	s.table("Signals", []string{
		"SIGNAL", "STATE", "OBSERVED", "EXPECTED", "ORDINARY", "SCORE", "THRESHOLD", "FINDING", "WHY",
	}, rows)
	rows = nil
	for i := range x.Incidents {
		o := &x.Incidents[i]
		rows = append(rows, row{
			cells: []string{o.ID, string(o.Severity), when(o.Start), o.Title}, tone: incidentTone(o),
		})
	}
	s.table("Open incidents", []string{"ID", "SEVERITY", "STARTED", "TITLE"}, rows)
	rows = nil
	for i := range x.Releases {
		r := &x.Releases[i]
		rows = append(rows, row{cells: []string{
			r.Release.ID, string(r.Release.State), r.Release.Result.String(),
			released(r.Release.Old, r.Release.New), when(r.Release.Start), effectOf(&r.Verdict),
		}, tone: releaseTone(&r.Release)})
	}
	s.table("Last releases", []string{"ID", "STATE", "VERDICT", "RELEASED", "STARTED", "EFFECT"}, rows)
}

func signalRow(x *detector.SeriesStatus) row {
	plain := func(v detector.Number) string { return incident.Plain(float64(v), x.Unit, x.Kind) }
	t := tonePlain
	switch x.State {
	case detector.Finds:
		t = toneDoubt
	case detector.Silent, detector.Warming:
		t = toneFaint
	}
	return row{cells: []string{
		x.Signal, string(x.State), plain(x.Observed), plain(x.Expected),
		plain(x.Lower) + " to " + plain(x.Upper), score(float64(x.Score)), score(float64(x.Threshold)),
		x.Finding, x.Reason,
	}, tone: t}
}
