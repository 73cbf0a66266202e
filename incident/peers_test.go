package incident_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// region drives one Manager with several clusters, each with a service shop/cart unless said
// otherwise.
type region struct {
	*world
	clusters []string
	without  map[string]bool          // Clusters that do not score the service.
	behind   map[string]time.Duration // How late the clusters' clocks are.
	found    map[time.Time][]detector.Finding
	shuffle  *rand.Rand // Of the order in which clusters report; nil: as they are listed.
}

// newRegion returns prod-eu and so many other clusters.
func newRegion(t *testing.T, others int) *region {
	r := &region{
		world:    newWorld(t, incident.Options{}),
		clusters: []string{"prod-eu"},
		without:  make(map[string]bool),
		behind:   make(map[string]time.Duration),
		found:    make(map[time.Time][]detector.Finding),
	}
	for n := range others {
		r.clusters = append(r.clusters, fmt.Sprint("prod-", n+1))
	}
	return r
}

// cartOf returns the service of a cluster.
func cartOf(cluster string) fleet.Service {
	return fleet.Service{Cluster: cluster, Namespace: "shop", Name: "cart"}
}

// at lets a finding of the cluster's cart be reported at an instant as open, and from then on.
func (r *region) at(after time.Duration, cluster, signal string) detector.Finding {
	f := finding(cartOf(cluster), signal, noon.Add(after))
	f.State = detector.Open
	r.found[f.At] = append(r.found[f.At], f)
	return f
}

// over lets a finding end at an instant.
func (r *region) over(after time.Duration, f detector.Finding) {
	f.State, f.At, f.Reason = detector.Resolved, noon.Add(after), "back to normal"
	f.End = f.At
	r.found[f.At] = append(r.found[f.At], f)
}

// run lets all clusters advance until an instant, in steps of 15s.
func (r *region) run(until time.Duration) {
	for end := noon.Add(until); r.now.Before(end); {
		r.now = r.now.Add(15 * time.Second)
		order := slices.Clone(r.clusters)
		if r.shuffle != nil {
			r.shuffle.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		for _, name := range order {
			r.advance(name, r.now.Add(-r.behind[name]))
		}
	}
}

func (r *region) advance(cluster string, now time.Time) {
	for _, f := range r.found[now] {
		if f.Service.Cluster == cluster {
			r.m.Find(f)
		}
	}
	if !r.without[cluster] {
		r.m.Scored(cluster, now, []fleet.Service{cartOf(cluster)})
	}
	r.m.Advance(cluster, now)
}

// peers returns what is known of the peers of the incident of prod-eu.
func (r *region) peers() incident.Peers {
	r.t.Helper()
	for _, i := range r.m.Incidents() {
		if i.Service.Cluster == "prod-eu" {
			return i.Peers
		}
	}
	r.t.Fatal("prod-eu has no incident")
	return incident.Peers{}
}

func (r *region) wantPeers(want incident.Peers) {
	r.t.Helper()
	if diff := cmp.Diff(want, r.peers()); diff != "" {
		r.t.Errorf("peers (-want +got):\n%s", diff)
	}
}

// begin is when something happens: by then the Manager knows all clusters.
const begin = 10 * time.Minute

func TestPeers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		others int
		script func(*region)
		want   incident.Peers
	}{
		{"no other cluster", 0, func(*region) {}, incident.Peers{}},
		{"here only", 4, func(*region) {}, incident.Peers{Clusters: 4}},
		{"the same in some", 7, func(r *region) {
			r.at(begin+15*time.Second, "prod-2", "errors")
			r.at(begin-9*time.Minute, "prod-5", "errors")
		}, incident.Peers{Clusters: 7, Deviating: 2, Names: []string{"prod-2", "prod-5"}}},
		{"the same long before", 4, func(r *region) {
			r.at(15*time.Second, "prod-1", "errors")
			r.found[noon.Add(15*time.Second)][0].Start = noon.Add(-5 * time.Minute)
		}, incident.Peers{Clusters: 4}},
		{"another signal", 4, func(r *region) {
			r.at(begin, "prod-1", "cpu")
		}, incident.Peers{Clusters: 4}},
		{"the other way", 4, func(r *region) {
			f := r.at(begin, "prod-1", "errors")
			fs := r.found[f.At]
			fs[len(fs)-1].Direction = detector.Down
		}, incident.Peers{Clusters: 4}},
		{"nothing harmful", 4, func(r *region) {
			f := r.at(begin, "prod-1", "errors")
			fs := r.found[f.At]
			fs[len(fs)-1].Harmful = false
		}, incident.Peers{Clusters: 4}},
		{"over again", 4, func(r *region) {
			r.over(begin+30*time.Second, r.at(begin, "prod-1", "errors"))
		}, incident.Peers{Clusters: 4}},
		{"without the service", 4, func(r *region) {
			r.without["prod-1"], r.without["prod-4"] = true, true
		}, incident.Peers{Clusters: 2}},
		{"a little behind", 4, func(r *region) {
			r.behind["prod-1"] = 30 * time.Second
		}, incident.Peers{Clusters: 4}},
		{"not yet as far", 4, func(r *region) {
			r.behind["prod-1"] = 4 * time.Minute
		}, incident.Peers{Clusters: 3, Unknown: 1}},
		{"behind but ill already", 4, func(r *region) {
			r.behind["prod-1"] = 4 * time.Minute
			r.at(begin-2*time.Minute, "prod-1", "errors")
		}, incident.Peers{Clusters: 4, Deviating: 1, Names: []string{"prod-1"}}},
		{"many names", 9, func(r *region) {
			for n := range 8 {
				r.at(begin, fmt.Sprint("prod-", n+1), "errors")
			}
		}, incident.Peers{
			Clusters: 9, Deviating: 8,
			Names: []string{"prod-1", "prod-2", "prod-3", "prod-4", "prod-5"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRegion(t, tc.others)
			r.at(begin, "prod-eu", "errors")
			tc.script(r)
			r.run(begin + 3*time.Minute)
			r.wantPeers(tc.want)
		})
	}
}

// Within a minute nobody can know whether other clusters find the same.
func TestPeersAreComparedOnceTheyHadTime(t *testing.T) {
	r := newRegion(t, 3)
	r.at(begin, "prod-eu", "errors")
	r.run(begin + time.Minute)
	r.wantPeers(incident.Peers{})
	told := len(r.reports)
	r.run(begin + 90*time.Second)
	r.wantPeers(incident.Peers{Clusters: 3})
	if len(r.reports) != told+1 {
		t.Errorf("%d reports of what was compared, want 1", len(r.reports)-told)
	}
}

// Every step is kept in memory, but people are told only when it means something else.
func TestPeersAreToldWhenTheirStandingChanges(t *testing.T) {
	r := newRegion(t, 8)
	r.at(begin, "prod-eu", "errors")
	for n := range 5 { // prod-1 to prod-5, at intervals of a minute.
		r.at(begin+time.Duration(n+3)*time.Minute, fmt.Sprint("prod-", n+1), "errors")
	}
	r.run(begin + 15*time.Minute)
	var told []string
	for _, i := range r.reports {
		if i.Service.Cluster == "prod-eu" {
			told = append(told, i.Peers.String())
		}
	}
	want := []string{
		"",
		"only in this cluster (8 others run it and are normal)",
		"also in 1 of 8 other clusters (prod-1)",
		"also in 4 of 8 other clusters: fleet-wide (prod-1, prod-2, prod-3, prod-4)",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("told (-want +got):\n%s", diff)
	}
	if p := r.peers(); p.Deviating != 5 || !p.FleetWide() {
		t.Errorf("at the end it is %+v", p)
	}
}

func TestPeersThatFallSilent(t *testing.T) {
	r := newRegion(t, 3)
	r.at(begin, "prod-eu", "errors")
	r.run(begin + 3*time.Minute)
	r.clusters = r.clusters[:3] // Nothing more is heard of prod-3,
	r.without["prod-2"] = true  // and prod-2 has lost the service.
	r.run(begin + 30*time.Minute)
	r.wantPeers(incident.Peers{Clusters: 1, Unknown: 1})
	r.m.Remove("prod-3")
	r.run(begin + 31*time.Minute)
	r.wantPeers(incident.Peers{Clusters: 1})
}

// Jobs come and go under new names for ever.
func TestServicesThatFallSilentAreForgotten(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := newRegion(t, 1)
	r.world = newWorld(t, incident.Options{Reg: reg})
	for n := range 10_000 {
		now := noon.Add(time.Duration(n) * time.Minute)
		job := fleet.Service{Cluster: "prod-eu", Namespace: "jobs", Name: fmt.Sprint("job-", n)}
		r.m.Scored("prod-eu", now, []fleet.Service{cartOf("prod-eu"), job})
		r.m.Advance("prod-eu", now)
	}
	held := func() float64 {
		all, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range all {
			if f.GetName() == "tocsin_incident_scored_services" {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		return -1
	}
	if n := held(); n < 2 || n > 1000 {
		t.Errorf("%g services are remembered of 10,000", n)
	}
	r.m.Remove("prod-eu")
	if n := held(); n != 0 {
		t.Errorf("%g services of a cluster that is gone are remembered", n)
	}
}

func TestPeersWhenAllIsOver(t *testing.T) {
	r := newRegion(t, 3)
	mine := r.at(begin, "prod-eu", "errors")
	other := r.at(begin, "prod-1", "errors")
	r.over(begin+5*time.Minute, mine)
	r.over(begin+7*time.Minute, other)
	r.run(begin + 20*time.Minute)
	r.wantOpen(0)
	r.wantPeers(incident.Peers{Clusters: 3, Deviating: 1, Names: []string{"prod-1"}})
}

// Clusters whose instants are an hour apart are compared too, with more patience.
func TestPeersAtSlowPace(t *testing.T) {
	r := newRegion(t, 2)
	f := finding(cartOf("prod-eu"), "errors", noon.Add(10*time.Hour))
	f.State = detector.Open
	for n := range 16 {
		now := noon.Add(time.Duration(n) * time.Hour)
		r.found[f.At] = []detector.Finding{f}
		for _, name := range r.clusters {
			r.advance(name, now)
		}
	}
	r.wantPeers(incident.Peers{Clusters: 2})
}

// Which cluster is first, at every instant, must not matter to anything that is reported.
func TestPeersDoNotDependOnTheOrderOfReports(t *testing.T) {
	play := func(seed uint64) map[string][]incident.Incident {
		r := newRegion(t, 6)
		r.shuffle = rand.New(rand.NewPCG(seed, 1))
		script := rand.New(rand.NewPCG(7, 7))
		for _, name := range r.clusters {
			for n := range 8 {
				from := time.Duration(n)*20*time.Minute + time.Duration(script.IntN(12))*15*time.Second
				f := r.at(begin+from, name, []string{"errors", "cpu"}[script.IntN(2)])
				r.over(begin+from+time.Duration(4+script.IntN(30))*15*time.Second, f)
			}
		}
		r.run(3 * time.Hour)
		out := make(map[string][]incident.Incident)
		for _, i := range r.reports {
			out[i.Service.Cluster] = append(out[i.Service.Cluster], i)
		}
		return out
	}
	first := play(1)
	fleetWide := 0
	for _, i := range slices.Concat(first["prod-eu"], first["prod-1"]) {
		if i.Peers.FleetWide() {
			fleetWide++
		}
	}
	if fleetWide == 0 {
		t.Fatal("nothing was fleet-wide: the script tests too little")
	}
	for seed := range uint64(5) {
		if diff := cmp.Diff(first, play(seed+2)); diff != "" {
			t.Fatalf("another order of clusters gives something else (-one +other):\n%s", diff)
		}
	}
}

func TestRestartKeepsPeers(t *testing.T) {
	r := newRegion(t, 4)
	open := []detector.Finding{
		r.at(begin, "prod-eu", "errors"),
		r.at(begin, "prod-1", "errors"), r.at(begin, "prod-2", "errors"),
	}
	r.run(begin + 5*time.Minute)
	want := incident.Peers{Clusters: 4, Deviating: 2, Names: []string{"prod-1", "prod-2"}}
	r.wantPeers(want)
	after := newRegion(t, 4)
	after.world = r.restart(open)
	for d := range 20 {
		after.run(begin + 5*time.Minute + time.Duration(d)*time.Minute)
		after.wantPeers(want)
	}
	if len(after.reports) != 0 {
		t.Errorf("the restart was reported: %+v", after.last().Peers)
	}
	after.m.Reconcile("prod-2", nil, after.now)
	after.run(begin + 30*time.Minute)
	after.wantPeers(incident.Peers{Clusters: 4, Deviating: 1, Names: []string{"prod-1"}})
}

func TestPeersInALine(t *testing.T) {
	five := []string{"a", "b", "c", "d", "e"}
	for _, tc := range []struct {
		peers     incident.Peers
		want      string
		fleetWide bool
	}{
		{incident.Peers{}, "", false},
		{incident.Peers{Unknown: 3}, "", false},
		{incident.Peers{Clusters: 1}, "only in this cluster (1 other runs it and is normal)", false},
		{
			incident.Peers{Clusters: 7, Unknown: 2},
			"only in this cluster (7 others run it and are normal; 2 not heard of)", false,
		},
		{
			incident.Peers{Clusters: 1, Deviating: 1, Names: five[:1]},
			"also in 1 of 1 other cluster (a)", false,
		},
		{
			incident.Peers{Clusters: 3, Deviating: 1, Names: five[:1]},
			"also in 1 of 3 other clusters (a)", false,
		},
		{
			incident.Peers{Clusters: 3, Deviating: 2, Names: five[:2], Unknown: 1},
			"also in 2 of 3 other clusters: fleet-wide (a, b; 1 not heard of)", true,
		},
		{
			incident.Peers{Clusters: 12, Deviating: 7, Names: five},
			"also in 7 of 12 other clusters: fleet-wide (a, b, c, d, e and 2 more)", true,
		},
	} {
		if got := tc.peers.String(); got != tc.want || tc.peers.FleetWide() != tc.fleetWide {
			t.Errorf("%+v is %q, fleet-wide %v", tc.peers, got, tc.peers.FleetWide())
		}
	}
}

// BenchmarkScored is what an instant of a cluster costs in a fleet of 500 clusters that run the
// same 250 services.
func BenchmarkScored(b *testing.B) {
	m, err := incident.New(incident.Options{Report: func(incident.Incident) {}})
	if err != nil {
		b.Fatal(err)
	}
	names, services := make([]string, 500), make([][]fleet.Service, 500)
	for n := range names {
		names[n] = fmt.Sprint("cluster-", n)
		for s := range 250 {
			services[n] = append(services[n], fleet.Service{
				Cluster: names[n], Namespace: "shop", Name: fmt.Sprint("service-", s),
			})
		}
		m.Scored(names[n], noon, services[n])
	}
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		at := noon.Add(time.Duration(n/500) * 15 * time.Second)
		m.Scored(names[n%500], at, services[n%500])
		m.Advance(names[n%500], at)
	}
}

// BenchmarkFleetWideOutage is what an instant of a cluster costs while 20 services fail in all of
// 500 clusters, each in an incident of its own.
func BenchmarkFleetWideOutage(b *testing.B) {
	m, err := incident.New(incident.Options{Report: func(incident.Incident) {}})
	if err != nil {
		b.Fatal(err)
	}
	names, services := make([]string, 500), make([][]fleet.Service, 500)
	for n := range names {
		names[n] = fmt.Sprint("cluster-", n)
		for s := range 20 {
			service := fleet.Service{Cluster: names[n], Namespace: fmt.Sprint(s), Name: "cart"}
			services[n] = append(services[n], service)
			f := finding(service, "errors", noon.Add(time.Duration(s)*time.Minute))
			f.State = detector.Open
			m.Find(f)
		}
	}
	advance := func(step int) {
		n, at := step%500, noon.Add(time.Hour+time.Duration(step/500)*15*time.Second)
		m.Scored(names[n], at, services[n])
		m.Advance(names[n], at)
	}
	step := 0
	for ; step < 20*500; step++ { // Until all is open and compared.
		advance(step)
	}
	b.ReportAllocs()
	for ; b.Loop(); step++ {
		advance(step)
	}
}
