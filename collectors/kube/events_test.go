package kube

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"tocsin/fleet"
)

// backOff is the event of a container of a pod that fails for the count-th time; its first time was
// at first.
func backOff(pod string, count int, first time.Time) *corev1.Event {
	return &corev1.Event{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta: metav1.ObjectMeta{
			Namespace: "shop", Name: pod + ".backoff", UID: types.UID("uid-" + pod + first.String()),
		},
		InvolvedObject: corev1.ObjectReference{Kind: "Pod", Namespace: "shop", Name: pod},
		Type:           corev1.EventTypeWarning, Reason: "BackOff", Message: "Back-off restarting failed container",
		Count: int32(count), FirstTimestamp: metav1.NewTime(first), LastTimestamp: metav1.NewTime(time.Now()),
	}
}

func TestACrashLoopIsOneGrowingChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"))
		b := start(t, api, Options{})
		const one, two = "cart-6456bf79f-8mwvc", "cart-6456bf79f-l7sd7"
		began := time.Now().Truncate(time.Second)
		for i := range 60 {
			api.put(backOff(one, i+1, began))
			api.put(backOff(two, i+1, began))
			b.pass(2 * time.Second)
		}
		changes := b.take()
		if len(changes) < 4 || len(changes) > 6 {
			t.Errorf("%d reports in 2 minutes, want one every 30s", len(changes))
		}
		last := changes[len(changes)-1]
		for i, c := range changes {
			if c.ID != changes[0].ID || c.Kind != fleet.Warning || c.Service.Name != "cart" {
				t.Errorf("report %d is of another change: %+v", i, c)
			}
			if i > 0 && c.Event.Count <= changes[i-1].Event.Count {
				t.Errorf("count went from %d to %d", changes[i-1].Event.Count, c.Event.Count)
			}
			if !c.At.Equal(began) || !c.Event.First.Equal(began) {
				t.Errorf("began at %v, %v, want %v", c.At, c.Event.First, began)
			}
		}
		b.pass(time.Minute)
		final := b.take()
		if len(final) > 0 {
			last = final[len(final)-1]
		}
		want := "BackOff (120 times): Back-off restarting failed container"
		if last.Event.Count != 120 || last.Summary != want || last.Event.Object != "Pod/"+two {
			t.Errorf("at the end: %+v, %+v", last, last.Event)
		}
		b.pass(time.Hour)
		b.want()

		api.put(backOff(one, 61, began)) // The same event again, but after a long silence.
		again := b.want("warning shop/cart: BackOff (1 times): Back-off restarting failed container")[0]
		if again.ID == last.ID {
			t.Error("a new episode has the ID of the old one")
		}
	})
}

func TestEventsAreNotCountedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"), statefulSet("db", "db:v1"))
		long := backOff("db-0", 9, time.Now().Add(-50*time.Minute))
		long.LastTimestamp = metav1.NewTime(time.Now().Add(-40 * time.Minute))
		began := time.Now().Add(-time.Minute)
		pod := "cart-6456bf79f-8mwvc"
		api.put(long, backOff(pod, 3, began))
		b := start(t, api, Options{})
		first := b.want("warning shop/cart: BackOff (3 times): Back-off restarting failed container")[0]

		api.compact()
		api.disconnect()
		b.pass(5 * time.Minute)
		b.want() // Listed again, but nothing is new.
		state := b.watcher.State()
		b.stop()

		api.put(backOff(pod, 5, began))
		var saved State
		if err := json.Unmarshal(encode(t, state), &saved); err != nil {
			t.Fatal(err)
		}
		b = start(t, api, Options{State: &saved})
		second := b.want("warning shop/cart: BackOff (5 times): Back-off restarting failed container")[0]
		if second.ID != first.ID {
			t.Error("the group has another ID after a restart")
		}
		b.stop()
		b = start(t, api, Options{})
		third := b.want("warning shop/cart: BackOff (5 times): Back-off restarting failed container")[0]
		if third.ID != first.ID {
			t.Error("the group has another ID for a watcher that knows nothing")
		}
	})
}

func TestEventsWaitForTheirWorkload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		reg := prometheus.NewRegistry()
		b := start(t, api, Options{Reg: reg})
		node := backOff("n", 1, time.Now())
		node.InvolvedObject = corev1.ObjectReference{Kind: "Node", Name: "node-1"}
		api.put(backOff("cart-6456bf79f-8mwvc", 1, time.Now()), backOff("job-x8k2p", 1, time.Now()), node)
		b.want()
		api.put(deployment("cart", "cart:v1"))
		b.pass(2 * time.Second)
		b.want("created shop/cart: created with image cart:v1",
			"warning shop/cart: BackOff (1 times): Back-off restarting failed container")
		b.pass(time.Minute)
		for reason, want := range map[string]float64{unmapped: 1, otherObject: 1, overflow: 0} {
			if got := counter(t, reg, "tocsin_kube_dropped_events_total", reason); got != want {
				t.Errorf("dropped as %s: %v, want %v", reason, got, want)
			}
		}
		if got := counter(t, reg, "tocsin_kube_changes_total", "warning"); got != 1 {
			t.Errorf("changes counted: %v", got)
		}
	})
}

func counter(t *testing.T, reg *prometheus.Registry, name, label string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == name && l.GetValue() == label {
					return m.GetCounter().GetValue()
				}
			}
		}
	}
	t.Fatalf("no metric %s of %s", name, label)
	return 0
}

func TestAnEventFloodIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := newAPIServer(t)
		api.put(deployment("cart", "cart:v1"))
		reg := prometheus.NewRegistry()
		b := start(t, api, Options{Reg: reg})
		var flood []metav1.Object
		for i := range 3000 {
			e := backOff("cart-6456bf79f-8mwvc", 1, time.Now())
			e.Name, e.UID = fmt.Sprint("e", i), types.UID(fmt.Sprint("u", i))
			e.Reason = fmt.Sprint("Reason", i)
			if i%2 == 1 {
				e.InvolvedObject.Name = "nobody-6456bf79f-8mwvc"
			}
			flood = append(flood, e)
		}
		api.put(flood...)
		b.pass(3 * time.Minute)
		if n := gauge(t, reg, "tocsin_kube_event_groups"); n > mostGroups {
			t.Errorf("%v groups", n)
		}
		if n := counter(t, reg, "tocsin_kube_dropped_events_total", overflow); n != 500 {
			t.Errorf("%v events found no place to wait, want 500", n)
		}
	})
}

func TestBothGenerationsOfEventsAreRead(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	e := &corev1.Event{
		EventTime: metav1.NewMicroTime(at), Reason: strings.Repeat("r", 500), Message: strings.Repeat("é", 5000),
		Series: &corev1.EventSeries{Count: 7, LastObservedTime: metav1.NewMicroTime(at.Add(time.Minute))},
	}
	w := warn(e)
	if w.count != 7 || !w.first.Equal(at) || !w.last.Equal(at.Add(time.Minute)) {
		t.Errorf("read %+v", w)
	}
	if len(w.reason) > 128 || len(w.message) > 1024 {
		t.Errorf("reason of %d and message of %d bytes", len(w.reason), len(w.message))
	}
	old := warn(&corev1.Event{ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.NewTime(at)}})
	if old.count != 1 || !old.first.Equal(at) || !old.last.Equal(at) {
		t.Errorf("read %+v", old)
	}
}

func TestOwner(t *testing.T) {
	long := strings.Repeat("long-name-", 6) // 60 letters: a pod's name cannot hold them all.
	m := newMemory()
	for _, w := range []Workload{
		{Kind: fleet.Deployment, Name: "cart"},
		{Kind: fleet.Deployment, Name: "cart-db"},
		{Kind: fleet.StatefulSet, Name: "db"},
		{Kind: fleet.DaemonSet, Name: "agent"},
		{Kind: fleet.Deployment, Name: long + "x"},
	} {
		w.Namespace = "shop"
		m.workloads[w.key()] = &w
	}
	for _, tc := range []struct {
		kind, object string
		want         string
		impossible   bool
	}{
		{kind: "Pod", object: "cart-6456bf79f-8mwvc", want: "cart"},
		{kind: "Pod", object: "cart-db-84fcc994fc-z7pzq", want: "cart-db"},
		{kind: "Pod", object: "db-0", want: "db"},
		{kind: "Pod", object: "db-12", want: "db"},
		{kind: "Pod", object: "agent-x8k2p", want: "agent"},
		{kind: "Pod", object: (long + "x-84fcc994fc")[:58] + "z7pzq", want: long + "x"},
		{kind: "ReplicaSet", object: "cart-6456bf79f", want: "cart"},
		{kind: "Deployment", object: "cart", want: "cart"},
		{kind: "StatefulSet", object: "db", want: "db"},
		{kind: "Pod", object: "cart"},
		{kind: "Pod", object: "cart-1"},
		{kind: "Pod", object: "db-x"},
		{kind: "Pod", object: ""},
		{kind: "StatefulSet", object: "cart"},
		{kind: "Node", object: "cart", impossible: true},
	} {
		w, possible := m.owner(warning{namespace: "shop", kind: tc.kind, object: tc.object})
		got := ""
		if w != nil {
			got = w.Name
		}
		if got != tc.want || possible == tc.impossible {
			t.Errorf("owner(%s %q) = %q, %v; want %q", tc.kind, tc.object, got, possible, tc.want)
		}
	}
	if w, _ := m.owner(warning{namespace: "other", kind: "Pod", object: "db-0"}); w != nil {
		t.Error("found an owner in another namespace")
	}
}
