package sim

import (
	"cmp"
	"errors"
	"slices"

	"tocsin/fleet"
)

// Pod is a pod that runs outside of the simulation, and for which the fleet serves metrics. The
// last word of its image's tag says how it behaves: bad fails, slow is slow, leak leaks, crash
// crashes, others are fine.
type Pod struct {
	Name     string `json:"name"`
	Image    string `json:"image"`
	Revision string `json:"revision"` // Hash of its template.
	Node     string `json:"node,omitempty"`
	NotReady bool   `json:"not_ready,omitempty"`
}

// Outside is a service whose pods run outside of the simulation.
type Outside struct {
	fleet.Service
	Workload fleet.Workload `json:"workload,omitempty"` // As it was; new: a Deployment.
	Rate     float64        `json:"rate,omitempty"`     // Requests a second; as it was; new: 40.
	Pods     []Pod          `json:"pods"`
}

// SetPods says which pods a service has from now on, in place of simulated ones. Pods that it had
// already, by name, image and revision, go on; others begin. A service that the fleet does not have
// is added to the cluster.
func (f *Fleet) SetPods(o Outside) error {
	c, err := f.cluster(o.Cluster)
	if err != nil {
		return err
	}
	if o.Namespace == "" || o.Name == "" {
		return errors.New("set pods: namespace and service are required")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.setPods(&o)
	return nil
}

// follow makes the pods those that were given, and leaves alone those that are there already.
func (s *service) follow(seconds float64) {
	pods := make([]*pod, 0, len(s.outside))
	for _, given := range s.outside {
		i := slices.IndexFunc(s.pods, func(p *pod) bool {
			return p.name == given.Name && p.image == given.Image && p.hash == given.Revision
		})
		var p *pod
		if i >= 0 {
			p = s.pods[i]
		} else {
			p = s.outsidePod(given, seconds)
		}
		if given.NotReady {
			p.readyAt = max(p.readyAt, seconds+1)
		}
		pods = append(pods, p)
	}
	s.pods = pods
	s.replicas = len(pods)
}

// setPods replaces the pods of a service, which may be a new one.
func (c *cluster) setPods(o *Outside) {
	i := slices.IndexFunc(c.services, func(s *service) bool {
		return s.namespace == o.Namespace && s.name == o.Name
	})
	if i < 0 {
		i = c.addService(o.Namespace, o.Name)
	}
	s := c.services[i]
	s.workload = cmp.Or(o.Workload, s.workload)
	s.rate = cmp.Or(o.Rate, s.rate)
	s.external = true
	s.outside = slices.Clone(o.Pods)
}

// addService makes a service that the catalogue does not have. Nobody calls it.
func (c *cluster) addService(namespace, name string) int {
	b := blueprint{namespace: namespace, name: name, tier: front, rate: 40}
	b.draw(named(c.opts.Seed, "catalogue"))
	b.errors = max(b.errors, 1e-4)
	s := newService(b, len(c.services), c.place)
	s.own = 1
	for _, f := range c.faults {
		if !f.wholeCluster() && f.matches(c.name, namespace, name) {
			s.faults = append(s.faults, f)
		}
	}
	c.services = append(c.services, s)
	c.own = append(c.own, noTrouble)
	c.model = newModel(c.services, c.opts.Propagation, c.opts.Spikes)
	return s.index
}
