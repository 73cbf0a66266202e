package sim

import (
	"cmp"
	"math"
	"slices"

	"tocsin/fleet"
)

// service is a blueprint at home in a cluster.
type service struct {
	blueprint
	index    int
	own      float64 // Share of the requests that comes from outside.
	calls    []dependency
	called   []dependency
	pattern  pattern
	job      *job
	releases cadence
	levels   uint64 // Key of how the releases differ; the same in all clusters.
	image    string // Without its tag.

	uneven     float64 // Variance of a pod's requests in a second over their squared mean.
	idleCPU    float64 // Cores that a pod uses without requests.
	requestCPU float64 // Core-seconds of one request.
	cpuLimit   float64 // Cores.
	memory     float64 // Bytes of the working set of a pod.
	limit      float64 // Bytes that a pod may have.
	get        float64 // Share of requests that are GET.

	replicas int
	outside  []Pod // From SetPods; then there are no simulated ones.
	external bool
	faults   []*Fault
	pods     []*pod
	born     int // Pods made so far, for their names.
	crashes  map[uint64]int
}

// dependency is an edge of the call graph.
type dependency struct {
	service    int
	perRequest float64 // Calls of the called one for each request of the caller.
	rate       float64 // Mean calls a second.
	sources    int     // Index among the called one's callers.
}

// place is what the services of one cluster have in common.
type place struct {
	key    uint64
	size   float64 // Factor on all traffic.
	zone   float64 // Hours ahead of UTC.
	pods   int
	jobs   float64 // Share of services that have a daily job.
	every  float64 // Seconds of real time between the releases of a service.
	offset float64 // Seconds of real time by which releases come later than in the first cluster.
}

func newService(b blueprint, index int, at place) *service {
	s := &service{blueprint: b, index: index, replicas: at.pods, crashes: map[uint64]int{}}
	s.levels = named(b.key, "levels")
	s.image = b.namespace + "/" + b.name
	s.releases = cadence{key: named(b.key, "releases"), period: at.every}
	s.releases.offset = uniform(s.releases.key)*at.every - at.offset
	s.key = named(at.key, b.namespace+"/"+b.name)
	r := stream{s.key}
	s.rate = b.rate * at.size * math.Exp(0.15*r.normal())
	s.pattern = drawPattern(&r, at.zone)
	if r.uniform() < at.jobs {
		s.job = drawJob(&r)
	}
	r = stream{named(s.key, "resources")}
	s.uneven = 0.01 + 0.04*r.uniform()
	perPod := s.rate / float64(at.pods)
	s.idleCPU = 0.01 + 0.03*r.uniform()
	s.requestCPU = s.latency.median * (0.1 + 0.25*r.uniform())
	// A peak is up to 2.2 times the mean; more than 0.7 of the limit would have the container wait.
	s.cpuLimit = math.Ceil(10*(4+2*r.uniform())*(s.idleCPU+perPod*s.requestCPU)) / 10
	s.memory = 64e6 * math.Exp2(4*r.uniform())
	s.limit = math.Exp2(math.Ceil(math.Log2(1.5 * s.memory)))
	s.get = 0.5 + 0.5*r.uniform()
	return s
}

// connect fills in the edges of the call graph.
func connect(services []*service) {
	for _, s := range services {
		s.own = 1
		for k, c := range s.callers {
			from := services[c.from]
			rate := c.share * s.rate
			d := dependency{perRequest: rate / from.rate, rate: rate, sources: k}
			s.own -= c.share
			d.service = from.index
			s.called = append(s.called, d)
			d.service = s.index
			from.calls = append(from.calls, d)
		}
	}
}

// byTier returns the indexes of the services so that each comes after all that call it.
func byTier(services []*service) []int {
	order := make([]int, len(services))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order,
		func(a, b int) int { return cmp.Compare(services[a].tier, services[b].tier) })
	return order
}

// levels is how a revision differs from the service's own mean: every release shifts something a
// little.
type levels struct{ latency, cpu, errors, memory float64 }

func (s *service) level(number int) levels {
	r := stream{subkey(s.levels, uint64(int64(number)))}
	return levels{
		latency: math.Exp(0.02 * r.normal()),
		cpu:     math.Exp(0.03 * r.normal()),
		errors:  math.Exp(0.10 * r.normal()),
		memory:  math.Exp(0.03 * r.normal()),
	}
}

// trouble returns what faults of the service as a whole do to the pod of that rank; rank -1 is the
// mean pod of n.
func (s *service) trouble(seconds float64, rank, n int) trouble {
	t := noTrouble
	for _, f := range s.faults {
		switch f.Kind {
		case ErrorBurst, LatencyShift, Leak, TrafficDrop:
		default:
			continue
		}
		strength := f.strength(seconds)
		if rank < 0 && f.Pods > 0 && n > 0 {
			strength *= min(1, float64(f.Pods)/float64(n))
		}
		if strength > 0 && (rank < 0 || f.hits(rank)) {
			t.suffer(f, strength)
		}
	}
	return t
}

// id names the service for others.
func (s *service) id(cluster string) fleet.Service {
	return fleet.Service{Cluster: cluster, Namespace: s.namespace, Name: s.name}
}
