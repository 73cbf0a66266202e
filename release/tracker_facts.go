package release

import (
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
)

// FactKind is a kind of trouble that Kubernetes itself tells of. It is evidence without any
// metric.
type FactKind string

// The kinds of fact, by the reason that Kubernetes gives most often.
const (
	CrashLoop        FactKind = "CrashLoopBackOff"
	OOMKilled        FactKind = "OOMKilled"
	FailedProbes     FactKind = "Unhealthy"
	ImagePull        FactKind = "ImagePullBackOff"
	FailedStart      FactKind = "RunContainerError"
	Unavailable      FactKind = "MinimumReplicasUnavailable"
	DeadlineExceeded FactKind = "ProgressDeadlineExceeded"
)

// Fact is trouble of new pods. It holds no count: the same thing is told more than once.
type Fact struct {
	Kind    FactKind  `json:"kind"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Pods    []string  `json:"pods,omitempty"` // Up to ten, by name; none: the workload as a whole.
	Message string    `json:"message,omitempty"`
}

// Pending is a warning on a pod that is not known yet: events overtake the watch of pods.
type Pending struct {
	Kind    FactKind  `json:"kind"`
	Pod     string    `json:"pod"`
	At      time.Time `json:"at"`
	Message string    `json:"message,omitempty"`
}

// What is kept of facts, at most.
const (
	mostFactPods = 10
	mostPending  = 16
)

// byPod is what the status of a pod says by a container's waiting or terminated reason.
func byPod(reason string) FactKind {
	switch reason {
	case "CrashLoopBackOff":
		return CrashLoop
	case "OOMKilled":
		return OOMKilled
	case "ImagePullBackOff", "ErrImagePull", "InvalidImageName", "ErrImageNeverPull":
		return ImagePull
	case "RunContainerError", "CreateContainerError", "CreateContainerConfigError", "StartError":
		return FailedStart
	}
	return ""
}

// byEvent is what a Warning event says.
func byEvent(e *fleet.Event) FactKind {
	pulls := strings.Contains(e.Message, "pull")
	switch e.Reason {
	case "BackOff", "Failed":
		if pulls {
			return ImagePull
		}
		if e.Reason == "BackOff" {
			return CrashLoop
		}
		return FailedStart
	case "Unhealthy":
		return FailedProbes
	case "OOMKilling", "OOMKilled":
		return OOMKilled
	}
	return ""
}

// warning attaches a Warning event to the release whose new pod it is about.
func (t *Tracker) warning(f *Followed, c *fleet.Change) {
	r := f.Running
	if r == nil || c.Event == nil {
		return
	}
	kind, at := byEvent(c.Event), c.Event.Last.UTC()
	pod, ok := strings.CutPrefix(c.Event.Object, "Pod/")
	if kind == "" || !ok || at.Before(r.Start) {
		return
	}
	w := Pending{kind, pod, at, c.Event.Message}
	if t.attribute(r, w) || slices.Contains(r.Pending, w) {
		return
	}
	if len(r.Pending) >= mostPending {
		t.ignore(f.Key, TooManyWarnings)
		return
	}
	r.Pending = append(r.Pending, w)
}

// attribute attaches a warning if its pod is known, and reports whether that is so. Of old pods
// it is no evidence against the release.
func (t *Tracker) attribute(r *Release, w Pending) bool {
	if r.Seen == nil {
		return false
	}
	named := func(p Pod) bool { return p.Name == w.Pod }
	if i := slices.IndexFunc(r.Seen.New.Pods, named); i >= 0 {
		if r.started(r.Seen.New.Pods[i]) {
			t.attach(r, w.Kind, w.At, w.Pod, w.Message)
		}
		return true
	}
	return slices.ContainsFunc(r.Seen.Old.Pods, named)
}

// witness reads the facts from an observation.
func (t *Tracker) witness(r *Release, p *Progress) {
	r.Pending = slices.DeleteFunc(r.Pending, func(w Pending) bool { return t.attribute(r, w) })
	unready := false
	for _, pod := range p.New.Pods {
		if !r.started(pod) {
			continue
		}
		unready = unready || !pod.Ready
		for _, reason := range [...]string{pod.Waiting, pod.Terminated} {
			if kind := byPod(reason); kind != "" {
				t.attach(r, kind, p.At, pod.Name, "")
			}
		}
	}
	if c, ok := p.condition(string(Unavailable), r.Start); ok && unready {
		t.attach(r, Unavailable, p.At, "", c.Message)
	}
	if c, ok := p.condition(string(DeadlineExceeded), r.Start); ok {
		t.attach(r, DeadlineExceeded, p.At, "", c.Message)
	}
}

// attach adds a fact to a release, and tells of the first of each kind.
func (t *Tracker) attach(r *Release, kind FactKind, at time.Time, pod, message string) {
	i := slices.IndexFunc(r.Facts, func(f Fact) bool { return f.Kind == kind })
	news := i < 0
	if news {
		i = len(r.Facts)
		r.Facts = append(r.Facts, Fact{Kind: kind, First: at, Last: at, Message: message})
	}
	f := &r.Facts[i]
	if at.Before(f.First) {
		f.First = at
	}
	if at.After(f.Last) {
		f.Last = at
		if message != "" {
			f.Message = message
		}
	}
	j, known := slices.BinarySearch(f.Pods, pod)
	if pod != "" && !known && len(f.Pods) < mostFactPods {
		f.Pods = slices.Insert(f.Pods, j, pod)
	}
	if news {
		t.report(r, Transition{At: at, From: r.State, To: r.State, Fact: kind})
	}
}
