package app

import (
	"slices"
	"sync"
	"time"

	"tocsin/fleet"
)

// ofNodes are the reasons of Warning events that tell of a node, not of what runs on it.
var ofNodes = []string{
	"NodeNotReady", "NodeNotSchedulable", "Evicted", "EvictionThresholdMet", "SystemOOM",
	"FailedCreatePodSandBox", "NetworkNotReady", "FailedMount", "FailedAttachVolume",
	"ContainerGCFailed", "ImageGCFailed", "TaintManagerEviction",
}

// nodeTrouble remembers which services suffered from nodes, and when last.
type nodeTrouble struct {
	mu   sync.Mutex // Guards what follows.
	last map[fleet.Service]time.Time
}

// mostTroubled bounds how many services are remembered: beyond it, all are in trouble anyway.
const mostTroubled = 10_000

func (n *nodeTrouble) note(c *fleet.Change) {
	if c.Kind != fleet.Warning || c.Event == nil || !slices.Contains(ofNodes, c.Event.Reason) {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for s, at := range n.last {
		if c.Event.Last.Sub(at) > time.Hour {
			delete(n.last, s)
		}
	}
	if len(n.last) < mostTroubled && c.Event.Last.After(n.last[c.Service]) {
		n.last[c.Service] = c.Event.Last
	}
}

// troubled returns how many other services of the cluster of s have suffered since an instant.
func (r *recorder) troubled(s fleet.Service, since time.Time) int {
	r.nodes.mu.Lock()
	defer r.nodes.mu.Unlock()
	n := 0
	for other, at := range r.nodes.last {
		if other.Cluster == s.Cluster && other != s && at.After(since) {
			n++
		}
	}
	return n
}
