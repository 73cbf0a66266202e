package sim

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"tocsin/fleet"
)

// A catalogue is what a company runs: the same services in every cluster, calling each other.

// tier orders services: those of one tier are called by those of lower ones.
type tier int

const (
	edge  tier = iota // Called from outside.
	front             // Near the user.
	back              // Behind those.
	store             // Keeps data.
)

// blueprint is a service before it runs in a cluster.
type blueprint struct {
	namespace, name string
	tier            tier
	workload        fleet.Workload
	rate            float64 // Mean requests a second in a cluster of ordinary size.
	errors          float64 // Ordinary share of requests that fail; 0 for some.
	latency         latency
	key             uint64

	callers []call
}

// call says which share of a service's requests comes from another.
type call struct {
	from  int // Index in the catalogue.
	share float64
}

// The first services have names and rates that documentation and tests rely on; rate 0 is drawn.
var wellKnown = []blueprint{
	{namespace: "shop", name: "frontend", tier: edge, rate: 120},
	{namespace: "shop", name: "checkout", tier: front, rate: 40},
	{namespace: "shop", name: "cart", tier: front, rate: 60},
	{namespace: "shop", name: "catalog", tier: back, rate: 150},
	{namespace: "pay", name: "payment", tier: back, rate: 25},
	{namespace: "data", name: "orders-db", tier: store, rate: 180},
	{namespace: "people", name: "login", tier: edge, rate: 30},
	{namespace: "people", name: "accounts", tier: back, rate: 45},
	{namespace: "shop", name: "search", tier: front, rate: 35},
	{namespace: "ship", name: "shipping", tier: back, rate: 12},
	{namespace: "shop", name: "recommendations", tier: front, rate: 50},
	{namespace: "pay", name: "fraud", tier: back, rate: 20},
	{namespace: "data", name: "sessions-db", tier: store, rate: 200},
	{namespace: "pay", name: "invoice", tier: back, rate: 0.4},
	{namespace: "ship", name: "tracking", tier: back, rate: 2},
	{namespace: "shop", name: "pricing", tier: back, rate: 90},
	{namespace: "people", name: "notifications", tier: back, rate: 8},
	{namespace: "shop", name: "reviews", tier: front, rate: 15},
	{namespace: "ship", name: "warehouse", tier: back, rate: 5},
	{namespace: "data", name: "audit-agent", tier: store, rate: 70},
}

// Further services are named for a domain and a role.
var (
	domains = []string{
		"billing",
		"orders",
		"media",
		"maps",
		"rides",
		"loyalty",
		"stock",
		"returns",
		"offers",
		"support",
		"content",
		"leads",
		"banners",
		"wallet",
		"tax",
		"travel",
		"events",
		"mail",
		"chat",
		"video",
		"audio",
		"games",
		"news",
		"weather",
	}
	roles = []struct {
		name string
		tier tier
	}{
		{"gateway", edge},
		{"api", front},
		{"web", front},
		{"worker", back},
		{"rules", back},
		{"db", store},
		{"cache", store},
		{"feed", back},
		{"export", back},
		{"index", store},
		{"sync", back},
		{"agent", store},
	}
)

func newCatalogue(seed uint64, services int) []blueprint {
	key := named(seed, "catalogue")
	list := make([]blueprint, services)
	for i := range list {
		if i < len(wellKnown) {
			list[i] = wellKnown[i]
		} else {
			list[i] = generated(i - len(wellKnown))
		}
		list[i].draw(key)
	}
	for i := range list {
		list[i].callers = drawCallers(list, i)
	}
	return list
}

func generated(i int) blueprint {
	domain := domains[i%len(domains)]
	role := roles[i/len(domains)%len(roles)]
	name := domain + "-" + role.name
	if round := i / (len(domains) * len(roles)); round > 0 {
		name = fmt.Sprintf("%s-%s-%d", domain, role.name, round+1)
	}
	return blueprint{namespace: domain, name: name, tier: role.tier}
}

// draw fills in what is not given. It depends on nothing but the name.
func (b *blueprint) draw(key uint64) {
	b.key = named(named(key, b.namespace), b.name)
	r := stream{b.key}
	b.workload = fleet.Deployment
	switch {
	case strings.HasSuffix(b.name, "-agent"):
		b.workload = fleet.DaemonSet
	case strings.Contains(b.name, "-db"):
		b.workload = fleet.StatefulSet
	}
	rate := 20 * math.Exp(1.2*r.normal())
	if r.uniform() < 0.12 {
		rate = 0.05 + 0.5*r.uniform() // Some services have hardly any traffic.
	}
	if b.rate == 0 {
		b.rate = min(400, rate)
	}
	b.errors = min(0.02, 0.0015*math.Exp(0.9*r.normal()))
	if r.uniform() < 0.25 {
		b.errors *= 0.01 // Some hardly ever fail.
	}
	median := []float64{0.120, 0.050, 0.018, 0.005}[b.tier]
	b.latency = latency{
		median: median * math.Exp(0.35*r.normal()),
		spread: 0.5 + 0.4*r.uniform(),
		slow:   0.01 + 0.04*r.uniform(),
		tail:   3 + 3*r.uniform(),
	}
}

// drawCallers picks up to three services of lower tiers with traffic enough to call this one.
func drawCallers(list []blueprint, i int) []call {
	b := &list[i]
	if b.tier == edge {
		return nil
	}
	var able []int
	for j := range list {
		if list[j].tier < b.tier && list[j].rate >= b.rate/4 {
			able = append(able, j)
		}
	}
	r := stream{named(b.key, "callers")}
	var calls []call
	left := 0.55 + 0.4*r.uniform()
	for n := 1 + int(3*r.uniform()); n > 0 && len(able) > 0; n-- {
		k := int(r.uniform() * float64(len(able)))
		share := left
		if n > 1 {
			share *= 0.4 + 0.3*r.uniform()
		}
		left -= share
		calls = append(calls, call{from: able[k], share: share})
		able = slices.Delete(able, k, k+1)
	}
	return calls
}

// clusterNames are used in turn, with a number from the second round on.
var clusterNames = []string{"east", "west", "north", "south"}

func clusterName(i int) string {
	name := clusterNames[i%len(clusterNames)]
	if round := i / len(clusterNames); round > 0 {
		name = fmt.Sprintf("%s-%d", name, round+1)
	}
	return name
}
