package promql

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// podTable knows what the label sets in the answers to one query for pods, or for services as a
// whole, stand for. Values are handed to the podAnswer at hand.
type podTable struct {
	key func(labels map[string]string) (podName, bool)

	labelSets
	series []podSeries // By number of label set.
	turn   uint32      // Counts answers.
	rows   int         // In the last answer, and its values for each instant.
	values int
	places int       // Label sets of a large answer of late: calls for few pods stand between.
	used   time.Time // When it was last needed.

	to *podAnswer // Of the answer that is being read.
}

// podName is a pod's namespace and name, or a service's.
type podName struct{ namespace, name string }

// podSeries is what one label set stands for.
type podSeries struct {
	pod   podName
	upper float64 // Bound of the bucket, in the query's unit; NaN: it is no bucket.
	ok    bool
	turn  uint32 // Of the newest answer that has it, and its row there.
	row   int32
}

// podAnswer is what one query gave for the pods of a call.
type podAnswer struct {
	targets *podTargets
	grid    *nativeGrid
	rows    []podRow
	data    []float64
}

// reserve makes room for what an answer had last time.
func (a *podAnswer) reserve(rows, values int) {
	a.rows = make([]podRow, 0, rows+rows/8)
	a.data = make([]float64, 0, min(values+values/8, maxPodValues))
}

// podRow is one series of an answer. Values of a native histogram are the cells of its instants.
type podRow struct {
	target int32
	pod    string
	upper  float64
	native bool
	at     int // In data.
}

var (
	_ rows       = (*podTable)(nil)
	_ nativeRows = (*podTable)(nil)
)

func newPodTable(key func(labels map[string]string) (podName, bool)) *podTable {
	return &podTable{key: key, labelSets: newLabelSets()}
}

func (t *podTable) begin() {
	t.places = max(len(t.order), t.places-t.places/16)
	if t.outgrown(t.places) {
		t.labelSets, t.series = newLabelSets(), nil
	}
	t.turn++
}

func (t *podTable) find(place int, raw []byte) (int32, error) {
	i, isNew := t.number(place, raw)
	if !isNew {
		return i, nil
	}
	var labels map[string]string
	if err := json.Unmarshal(raw, &labels); err != nil {
		t.forget(i)
		return -1, fmt.Errorf("%w: want a label set", errMalformed)
	}
	s := podSeries{upper: math.NaN()}
	s.pod, s.ok = t.key(labels)
	if le, ok := labels["le"]; ok {
		var err error
		s.upper, err = strconv.ParseFloat(le, 64)
		s.ok = s.ok && err == nil
	}
	t.series = append(t.series, s)
	return i, nil
}

func (t *podTable) add(a *answer, set int32, points []point) error {
	if !t.begins(a, set, len(points)) {
		return nil
	}
	s := &t.series[set]
	if s.turn != t.turn {
		if err := t.row(a, s, false, a.steps); err != nil {
			return err
		}
	}
	cells := t.to.data[t.to.rows[s.row].at:]
	for _, p := range points {
		i := a.place(p)
		switch {
		case i < 0:
		case math.IsInf(p.value, 0):
			a.drops[infinite]++
		default:
			cells[i] = p.value
			a.values++
		}
	}
	return nil
}

func (t *podTable) addNative(
	a *answer, set int32, points []nativePoint, buckets []nativeBucket,
) error {
	if t.to.grid == nil {
		a.drops[histogram] += len(points)
		return nil
	}
	if !t.begins(a, set, len(points)) {
		return nil
	}
	s := t.series[set] // Its row is that of its numbers, if there are any too.
	if err := t.row(a, &s, true, a.steps*nativeCells); err != nil {
		return err
	}
	all := t.to.data[t.to.rows[s.row].at:]
	for _, p := range points {
		i := a.place(point{at: p.at})
		if i < 0 {
			continue
		}
		cells := all[i*nativeCells : (i+1)*nativeCells]
		clear(cells)
		t.to.grid.add(cells, p.count, buckets[p.from:p.to])
		a.values++
	}
	return nil
}

// begins reports whether a series is of a pod that was asked for, and counts its samples if not.
func (t *podTable) begins(a *answer, set int32, samples int) bool {
	switch {
	case set < 0:
		a.drops[seriesLimit] += samples
	case !t.series[set].ok:
		a.drops[unmapped] += samples
	case t.to.targets.find(t.series[set].pod) < 0:
		a.drops[untargeted] += samples
	default:
		return true
	}
	return false
}

// row begins a row of so many values, which are absent.
func (t *podTable) row(a *answer, s *podSeries, native bool, values int) error {
	if len(t.to.data)+values > a.maxData {
		return fmt.Errorf("%w: more than %d values", errTooLarge, a.maxData)
	}
	s.turn, s.row = t.turn, int32(len(t.to.rows))
	t.to.rows = append(t.to.rows, podRow{
		target: t.to.targets.find(s.pod), pod: s.pod.name, upper: s.upper, native: native,
		at: len(t.to.data),
	})
	for range values {
		t.to.data = append(t.to.data, math.NaN())
	}
	return nil
}
