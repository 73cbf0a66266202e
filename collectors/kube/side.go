package kube

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
)

// former is a revision of a workload: a ReplicaSet, or a ControllerRevision.
type former struct {
	name   string
	label  string    // What its pods bear.
	owner  types.UID // Of its pods.
	number int64     // The controller's own count.
	hash   string    // Of its template.
	counts Side      // What a ReplicaSet knows of its pods; those of others are counted.
}

// revisions reads the revisions of a workload, newest first. They are written rarely: the API
// server may answer from memory, unless it does not know the one that must be there yet.
func (l *looker) revisions(ctx context.Context, s *subject) ([]former, error) {
	list := l.controllerRevisions
	if s.replicas {
		list = l.replicaSets
	}
	options := metav1.ListOptions{LabelSelector: s.selector.String(), ResourceVersion: "0"}
	all, err := list(ctx, s, options)
	if err == nil && s.observed && !s.progress.Paused && !s.knows(all) {
		options.ResourceVersion = ""
		all, err = list(ctx, s, options)
	}
	if err != nil {
		return nil, err
	}
	if s.current != "" && !s.knows(all) {
		return nil, ErrUnobserved
	}
	slices.SortFunc(all, func(a, b former) int { return cmp.Compare(b.number, a.number) })
	return all, nil
}

// knows says whether a revision that is asked for is among those that are known; of a Rollout, it
// takes its hash from there.
func (s *subject) knows(all []former) bool {
	for i := range all {
		if s.current != "" && all[i].label == s.current {
			s.hash = all[i].hash
		}
	}
	return slices.ContainsFunc(all, func(r former) bool { return r.hash == s.hash })
}

func (l *looker) replicaSets(
	ctx context.Context, s *subject, o metav1.ListOptions,
) ([]former, error) {
	list, err := l.typed.AppsV1().ReplicaSets(s.namespace).List(ctx, o)
	if err != nil {
		return nil, missing(err, rule{"apps", "replicasets", "list"})
	}
	var all []former
	for i := range list.Items {
		if set := &list.Items[i]; controlled(set, s.uid) {
			r, err := formerSet(set)
			if err != nil {
				return nil, err
			}
			r.label = set.Labels[s.label()]
			all = append(all, r)
		}
	}
	return all, nil
}

// formerSet reads a ReplicaSet, which is changed.
func formerSet(set *appsv1.ReplicaSet) (former, error) {
	status := &set.Status
	r := former{name: set.Name, owner: set.UID, number: revisionNumber(set), counts: Side{
		Created: status.Replicas, Ready: status.ReadyReplicas, Available: status.AvailableReplicas,
	}}
	var err error
	if r.hash, err = hashTemplate(ownTemplate(set)); err != nil {
		return former{}, fmt.Errorf("read ReplicaSet %s: %w", set.Name, err)
	}
	return r, nil
}

func (l *looker) controllerRevisions(
	ctx context.Context, s *subject, o metav1.ListOptions,
) ([]former, error) {
	list, err := l.typed.AppsV1().ControllerRevisions(s.namespace).List(ctx, o)
	if err != nil {
		return nil, missing(err, rule{"apps", "controllerrevisions", "list"})
	}
	var all []former
	for i := range list.Items {
		if c := &list.Items[i]; controlled(c, s.uid) {
			r, err := formerData(c)
			if err != nil {
				return nil, err
			}
			r.owner = s.uid
			all = append(all, r)
		}
	}
	return all, nil
}

// formerData reads a ControllerRevision. Its data is a patch of its owner, which replaces the
// template as a whole. Pods of a StatefulSet bear its name, those of a DaemonSet the hash in it.
func formerData(c *appsv1.ControllerRevision) (former, error) {
	r := former{
		name: c.Name, label: cmp.Or(c.Labels["controller-revision-hash"], c.Name), number: c.Revision,
	}
	var data struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	err := json.Unmarshal(c.Data.Raw, &data)
	if err == nil {
		r.hash, err = hashTemplate(&data.Spec.Template)
	}
	if err != nil {
		return former{}, fmt.Errorf("read ControllerRevision %s: %w", c.Name, err)
	}
	return r, nil
}

func controlled(o metav1.Object, by types.UID) bool {
	c := metav1.GetControllerOfNoCopy(o)
	return c != nil && c.UID == by
}

// sides reads the pods of both sides. Revisions of the same hash are on the same side: a restart
// makes another revision of the same template.
func (l *looker) sides(ctx context.Context, s *subject, all []former, p *Progress) error {
	var now, before []former
	for _, r := range all {
		if r.hash == s.hash {
			now = append(now, r)
		} else {
			before = append(before, r)
		}
	}
	var err error
	if len(now) > 0 {
		if p.New, err = l.side(ctx, s, now, selection.In, now); err != nil {
			return err
		}
	}
	if p.Old, err = l.old(ctx, s, now, before); err != nil {
		return err
	}
	p.New.Hash = s.hash
	return nil
}

// old reads the side of all revisions but the one that is asked for.
func (l *looker) old(ctx context.Context, s *subject, now, before []former) (Side, error) {
	if len(before) == 0 {
		return Side{}, nil
	}
	mixed := s.mixed
	for _, r := range before {
		mixed = mixed || r.counts.Created > 0
	}
	if !mixed {
		c := census{}
		return c.conclude(s, before[:1]), nil
	}
	return l.side(ctx, s, before, selection.NotIn, now)
}

// side reads the pods of revisions: those whose label is, or is not, that of a labelled one.
func (l *looker) side(
	ctx context.Context, s *subject, of []former, op selection.Operator, labelled []former,
) (Side, error) {
	selector := s.selector
	if len(labelled) > 0 {
		values := make([]string, 0, len(labelled))
		for _, r := range labelled {
			values = append(values, r.label)
		}
		only, err := labels.NewRequirement(s.label(), op, values)
		if err != nil {
			return Side{}, fmt.Errorf("select pods: %w", err)
		}
		selector = selector.Add(*only)
	}
	c := census{label: s.label(), minReady: s.minReady, all: !s.replicas, of: map[string]int32{}}
	for _, r := range of {
		c.owners = append(c.owners, r.owner)
	}
	if err := l.count(ctx, s.namespace, selector.String(), &c); err != nil {
		return Side{}, err
	}
	return c.conclude(s, of), nil
}

// conclude makes a side of what was counted. A ReplicaSet's own count is the better one: it is that
// of all pods.
func (c *census) conclude(s *subject, of []former) Side {
	side := c.side
	if s.replicas {
		side.Created, side.Ready, side.Available = 0, 0, 0
	}
	var alive []former
	for _, r := range of {
		if s.replicas {
			side.Created += r.counts.Created
			side.Ready += r.counts.Ready
			side.Available += r.counts.Available
		}
		if r.counts.Created > 0 || c.of[r.label] > 0 {
			alive = append(alive, r)
		}
	}
	if len(alive) == 0 {
		alive = of[:1]
	}
	side.Hash = alive[0].hash
	if s.replicas {
		side.Match = match(alive)
	}
	return side
}

// match returns the regular expression that names of the pods of ReplicaSets have, or nothing if
// one of them is so long that its end, by which it differs from others, is cut off.
func match(sets []former) string {
	const suffix = 5
	names := make([]string, 0, len(sets))
	for _, r := range sets {
		if len(r.name)+len("-")+suffix > mostGenerated {
			return ""
		}
		names = append(names, regexp.QuoteMeta(r.name))
	}
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), "|")
	if len(names) > 1 {
		text = "(" + text + ")"
	}
	return text + "-[a-z0-9]{" + strconv.Itoa(suffix) + "}"
}
