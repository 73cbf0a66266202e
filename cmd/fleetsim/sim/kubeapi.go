package sim

import (
	"maps"
	"slices"
)

// kubeAPI is what a cluster's Kubernetes API tells: its workloads and the Warning events of their
// pods, to be listed and watched. It belongs to its cluster and is guarded by that one's lock.
type kubeAPI struct {
	version   uint64
	workloads map[int]*written    // By the index of the service.
	former    map[int][]former    // By the index of the service.
	warnings  map[string]*warning // By pod.
	log       []entry             // What happened last, for those who watch.
	news      chan struct{}       // Closed when something happens.
}

// entry is one thing that happened: an object of a resource as it became.
type entry struct {
	version  uint64
	resource string
	kind     string // ADDED or MODIFIED.
	service  int
	workload written
	warning  warning
}

// former is a revision that a workload has, or has had.
type former struct {
	revision revision
	number   int // Counts the revisions: the newest has the highest.
	at       float64
}

// mostFormer is how many revisions a workload keeps.
const mostFormer = 10

// mostEntries bounds the log. Who watches from an earlier version has to list again.
const mostEntries = 4096

const (
	eventsResource = "events"
	forgetEvents   = 3600 // Seconds after which an API server does not know an event any more.
)

func newKubeAPI() *kubeAPI {
	return &kubeAPI{
		workloads: map[int]*written{}, former: map[int][]former{},
		warnings: map[string]*warning{}, news: make(chan struct{}),
	}
}

// append adds what happened last to the log.
func (k *kubeAPI) append(e entry) {
	e.version = k.version
	if len(k.log) == mostEntries {
		k.log = slices.Delete(k.log, 0, mostEntries/4)
	}
	k.log = append(k.log, e)
	close(k.news)
	k.news = make(chan struct{})
}

// observe writes down what has become of a service's workload. Workloads of outside have an API of
// their own.
func (k *kubeAPI) observe(s *service, want revision, seconds float64) {
	if s.external {
		delete(k.workloads, s.index)
		delete(k.former, s.index)
		return
	}
	w, kind, now := k.workloads[s.index], "MODIFIED", s.count(want, seconds)
	switch {
	case w == nil:
		_, began := s.releases.revision(seconds)
		w = &written{number: 41 + want.number, before: want, templateAt: began, scaledAt: began}
		kind, w.generation = "ADDED", 1
		k.workloads[s.index] = w
		k.keep(s, want, w.number, began)
	case w.revision == want && w.replicas == s.replicas && w.standing == now:
		return
	default:
		if w.revision != want {
			w.number++
			w.templateAt, w.before = seconds, w.revision
			k.keep(s, want, w.number, seconds)
		}
		if w.replicas != s.replicas {
			w.scaledAt = seconds
		}
		if w.revision != want || w.replicas != s.replicas {
			w.generation++
		}
	}
	k.version++
	w.version = k.version
	w.revision, w.replicas, w.standing = want, s.replicas, now
	k.append(entry{resource: resourceOf(s.workload), kind: kind, service: s.index, workload: *w})
}

// keep remembers a revision. One that was there before gets a new number, as its ReplicaSet does.
func (k *kubeAPI) keep(s *service, v revision, number int, seconds float64) {
	all := k.former[s.index]
	f := former{v, number, seconds}
	if i := slices.IndexFunc(all, func(f former) bool { return f.revision == v }); i >= 0 {
		f.at = all[i].at
		all = slices.Delete(all, i, i+1)
	}
	all = append(all, f)
	k.former[s.index] = all[max(0, len(all)-mostFormer):]
}

// warn writes down that a container waits to be started again.
func (k *kubeAPI) warn(s *service, p *pod, seconds float64) {
	w, kind := k.warnings[p.name], "MODIFIED"
	if w == nil {
		w, kind = &warning{service: s.index, pod: p.name, first: seconds}, "ADDED"
		maps.DeleteFunc(k.warnings,
			func(_ string, w *warning) bool { return w.last < seconds-forgetEvents })
		k.warnings[p.name] = w
	}
	k.version++
	w.version, w.last = k.version, seconds
	w.count++
	k.append(entry{resource: eventsResource, kind: kind, service: s.index, warning: *w})
}

// report tells the API what has changed since the last step.
func (c *cluster) report(s *service, seconds float64) {
	c.kube.observe(s, s.desired(seconds), seconds)
	for _, p := range s.pods {
		// The kubelet repeats itself every ten seconds or so while it backs off.
		if p.backsOff(seconds) && seconds >= p.warnedAt+10 && !s.external {
			p.warnedAt = seconds
			c.kube.warn(s, p, seconds)
		}
	}
}
