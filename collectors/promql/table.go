package promql

import (
	"encoding/json"
	"fmt"
	"strings"

	"tocsin/fleet"
	"tocsin/series"
)

const (
	// maxName bounds namespaces and services. Kubernetes allows 253 bytes.
	maxName = 253
	// retryFull is after how many answers a series that found no room asks for it again.
	retryFull = 16
)

// labelSet says what one label set of the answers to a query stands for.
type labelSet struct {
	target int32 // Of table.targets; -1 if reason says why there is none.
	reason drop
}

// target is one series that label sets of the query stand for.
type target struct {
	ref   series.Ref
	turn  uint32 // Number of the newest answer that has it.
	row   int32  // In that answer.
	owner int32  // The label set that the row comes from.
}

// table knows which series of the registry the answers to one query are about. Of several label sets that stand for one service, the one that was seen first counts, in
// whatever order they come, and the others are dropped: a sum would be wrong for most signals.
type table struct {
	cluster  string
	query    *Query
	registry *series.Registry

	labelSets
	sets    []labelSet // By number.
	targets []target
	byRef   map[series.Ref]int32 // Of targets.
	beside  map[series.Ref]int32 // Of targets, by the Ref of Query.ZeroWith for the same service.
	turn    uint32               // Counts answers.
}

func newTable(cluster string, q *Query, r *series.Registry) *table {
	t := &table{cluster: cluster, query: q, registry: r}
	t.clear()
	return t
}

func (t *table) clear() {
	t.labelSets = newLabelSets()
	t.sets, t.targets = nil, nil
	t.byRef = make(map[series.Ref]int32)
	t.beside = make(map[series.Ref]int32)
}

var _ rows = (*table)(nil)

// begin starts another answer. Label sets that have gone are forgotten once they are many.
func (t *table) begin() {
	if t.outgrown(len(t.order)) {
		t.clear()
	}
	t.turn++
}

// find returns the label set whose bytes stand at a place of the answer, -1 if there are too
// many to remember it.
func (t *table) find(place int, raw []byte) (int32, error) {
	i, isNew := t.number(place, raw)
	if isNew {
		set := labelSet{target: -1}
		if err := t.resolve(t.raws[i], &set); err != nil {
			t.forget(i)
			return -1, err
		}
		t.sets = append(t.sets, set)
	}
	return i, nil
}

// resolve finds out which series a label set stands for.
func (t *table) resolve(raw string, set *labelSet) error {
	var labels map[string]string
	if err := json.Unmarshal([]byte(raw), &labels); err != nil {
		return fmt.Errorf("%w: want a label set", errMalformed)
	}
	service, ok := serviceOf(t.query, labels)
	if !ok {
		set.target, set.reason = -1, unmapped
		return nil
	}
	service.Cluster = t.cluster
	set.target = t.admit(service)
	set.reason = kept
	if set.target < 0 {
		set.reason = seriesLimit
	}
	return nil
}

// admit returns the target for a service, -1 if the cluster may have no more series.
func (t *table) admit(service fleet.Service) int32 {
	ref, err := t.registry.Ref(series.ID{Service: service, Signal: t.query.Signal})
	if err != nil {
		return -1
	}
	i, ok := t.byRef[ref]
	if !ok {
		i = int32(len(t.targets))
		t.targets = append(t.targets, target{ref: ref})
		t.byRef[ref] = i
	}
	return i
}

// serviceOf reads namespace and name of a service from labels. Jobs are often written as
// namespace/name: the name is what follows the last slash, and what precedes it is the
// namespace if no label says otherwise.
func serviceOf(q *Query, labels map[string]string) (fleet.Service, bool) {
	s := fleet.Service{Namespace: first(labels, q.Namespace), Name: first(labels, q.Service)}
	if i := strings.LastIndexByte(s.Name, '/'); i >= 0 {
		if s.Namespace == "" {
			s.Namespace = s.Name[:i]
		}
		s.Name = s.Name[i+1:]
	}
	return s, s.Name != "" && named(s.Name) && named(s.Namespace)
}

// first returns the first of the named labels that is not empty.
func first(labels map[string]string, names []string) string {
	for _, name := range names {
		if v := labels[name]; v != "" {
			return v
		}
	}
	return ""
}

// named reports whether text can be a part of a service's name: short, printable, no slash.
func named(text string) bool {
	return len(text) <= maxName && !strings.ContainsFunc(text, func(r rune) bool {
		return r == '/' || r < ' ' || r == 0x7f
	})
}

// point is one sample as it stands in an answer.
type point struct {
	at    int64 // Unix milliseconds.
	value float64
}

// add takes the points of one series into a.
func (t *table) add(a *answer, set int32, points []point) error {
	if set < 0 {
		a.drops[seriesLimit] += len(points)
		return nil
	}
	s := &t.sets[set]
	if t.outdated(s) {
		if err := t.resolve(t.raws[set], s); err != nil {
			return err
		}
	}
	if s.target < 0 {
		a.drops[s.reason] += len(points)
		return nil
	}
	g := &t.targets[s.target]
	if g.turn == t.turn {
		a.merge(int(g.row), points, set < g.owner)
		g.owner = min(g.owner, set)
		return nil
	}
	if err := t.place(a, g); err != nil {
		return err
	}
	g.owner = set
	a.take(int(g.row), points)
	return nil
}

// outdated reports whether a label set must be resolved again: its Ref was given up, or there
// may be room for it by now.
func (t *table) outdated(s *labelSet) bool {
	if s.target < 0 {
		return s.reason == seriesLimit && t.turn%retryFull == 0
	}
	_, ok := t.registry.ID(t.targets[s.target].ref)
	return !ok
}

// place begins a row of a for a target.
func (t *table) place(a *answer, g *target) error {
	row := a.row(g.ref)
	if row < 0 {
		return fmt.Errorf("%w: more than %d values", errTooLarge, a.maxData)
	}
	g.turn, g.row = t.turn, int32(row)
	return nil
}

// zeros puts a 0 into a wherever it says nothing and volume, the answer to the signal that
// Query.ZeroWith names, is above zero for the same service and instant.
func (t *table) zeros(a, volume *answer) error {
	for row, ref := range volume.refs {
		var g *target
		for i, v := range volume.cells(row) {
			if !(v > 0) {
				continue
			}
			if g == nil {
				if g = t.companion(ref); g == nil {
					a.drops[seriesLimit]++
					break
				}
			}
			if g.turn != t.turn {
				if err := t.place(a, g); err != nil {
					return err
				}
			}
			if cell := &a.cells(int(g.row))[i]; isAbsent(*cell) {
				*cell = 0
				a.values++
				a.zeros++
			}
		}
	}
	return nil
}

// companion returns the target for the service of another signal's series, nil if it may have
// none.
func (t *table) companion(ref series.Ref) *target {
	if i, ok := t.beside[ref]; ok {
		if _, ok := t.registry.ID(t.targets[i].ref); ok {
			return &t.targets[i]
		}
	}
	id, ok := t.registry.ID(ref)
	if !ok {
		return nil
	}
	i := t.admit(id.Service)
	if i < 0 {
		return nil
	}
	t.beside[ref] = i
	return &t.targets[i]
}
