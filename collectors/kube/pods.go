package kube

import (
	"context"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The limits of the pods of a side.
const (
	mostPods  = 500 // That are told of.
	podsPage  = 500 // In one answer.
	mostPages = 20  // That are counted.
)

// census counts the pods of a side.
type census struct {
	label    string // By which they tell their revision.
	owners   []types.UID
	minReady time.Duration
	all      bool // Count all, not only those that are told of.

	side Side
	of   map[string]int32 // By label.
}

// count reads pods page by page. If the API server does not know any more how to go on, what was
// read so far counts.
func (l *looker) count(ctx context.Context, namespace, selector string, c *census) error {
	options := metav1.ListOptions{LabelSelector: selector, Limit: podsPage}
	for range mostPages {
		page, err := l.typed.CoreV1().Pods(namespace).List(ctx, options)
		if options.Continue != "" && apierrors.IsResourceExpired(err) {
			return nil
		}
		if err != nil {
			return missing(err, rule{"", "pods", "list"})
		}
		now := time.Now()
		for i := range page.Items {
			c.add(&page.Items[i], now)
		}
		options.Continue = page.Continue
		if page.Continue == "" || !c.all && len(c.side.Pods) >= mostPods {
			break
		}
	}
	return nil
}

// add counts a pod as controllers do: not one that is over or on its way.
func (c *census) add(p *corev1.Pod, now time.Time) {
	owner := metav1.GetControllerOfNoCopy(p)
	over := p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
	if owner == nil || !slices.Contains(c.owners, owner.UID) || over || p.DeletionTimestamp != nil {
		return
	}
	ready, since := readiness(p)
	c.of[p.Labels[c.label]]++
	c.side.Created++
	if ready {
		c.side.Ready++
		if c.minReady == 0 || !since.Add(c.minReady).After(now) {
			c.side.Available++
		}
	}
	if len(c.side.Pods) < mostPods {
		c.side.Pods = append(c.side.Pods, Pod{
			Name: strings.Clone(p.Name), Started: started(p), Ready: ready,
			Waiting: waiting(&p.Status), Terminated: terminated(&p.Status),
		})
	}
}

func readiness(p *corev1.Pod) (ready bool, since time.Time) {
	for i := range p.Status.Conditions {
		if c := &p.Status.Conditions[i]; c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue, c.LastTransitionTime.Time
		}
	}
	return false, time.Time{}
}

// started returns when a container of the pod was started last. If none runs, it is the pod that
// was.
func started(p *corev1.Pod) time.Time {
	var newest time.Time
	for i := range p.Status.ContainerStatuses {
		if r := p.Status.ContainerStatuses[i].State.Running; r != nil && r.StartedAt.After(newest) {
			newest = r.StartedAt.Time
		}
	}
	switch {
	case !newest.IsZero():
		return newest.UTC()
	case p.Status.StartTime != nil:
		return p.Status.StartTime.UTC()
	}
	return p.CreationTimestamp.UTC()
}

// waiting returns why a container waits: rather why one cannot start than that it waits its turn.
func waiting(s *corev1.PodStatus) string {
	first := ""
	for _, statuses := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range statuses {
			w := statuses[i].State.Waiting
			if w == nil || w.Reason == "" {
				continue
			}
			if w.Reason != "PodInitializing" && w.Reason != "ContainerCreating" {
				return strings.Clone(w.Reason)
			}
			first = w.Reason
		}
	}
	return strings.Clone(first)
}

// terminated returns why a container ended last. Want of memory counts for more than what came of
// it in other containers; an init container is supposed to end.
func terminated(s *corev1.PodStatus) string {
	var last *corev1.ContainerStateTerminated
	for _, statuses := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses} {
		for i := range statuses {
			c := &statuses[i]
			for _, t := range []*corev1.ContainerStateTerminated{
				c.LastTerminationState.Terminated, c.State.Terminated,
			} {
				if t != nil && t.ExitCode != 0 && worse(t, last) {
					last = t
				}
			}
		}
	}
	if last == nil {
		return ""
	}
	return strings.Clone(last.Reason)
}

// worse says whether an end tells more than another one, which may be none.
func worse(t, than *corev1.ContainerStateTerminated) bool {
	const memory = "OOMKilled"
	if than == nil || (t.Reason == memory) != (than.Reason == memory) {
		return than == nil || t.Reason == memory
	}
	return t.FinishedAt.After(than.FinishedAt.Time)
}
