package promql

// maxLabelSets bounds what is remembered for one query; samples beyond it are dropped.
const maxLabelSets = 100_000

// rows takes the series of an answer as they are read. What it is given is valid during a call.
type rows interface {
	begin()
	// guess returns the label set that stood at a place of the answer before, and its bytes; -1
	// if there was none.
	guess(place int) (int32, string)
	// find returns the label set whose bytes stand at a place, -1 if it cannot be remembered.
	find(place int, raw []byte) (int32, error)
	add(a *answer, set int32, points []point) error
	end(places int)
}

// labelSets numbers the label sets in the answers to one query. Answers hardly change from tick
// to tick: most label sets are found by a comparison with the one that stood at the same place
// last time, others by a hash of their bytes, and only new ones are decoded.
type labelSets struct {
	raws  []string         // As their bytes stand in an answer.
	index map[string]int32 // Of raws.
	order []int32          // The label set at each place of the last answer.
}

func newLabelSets() labelSets { return labelSets{index: make(map[string]int32)} }

// outgrown reports whether most of what is remembered has gone from answers that had so many
// label sets.
func (l *labelSets) outgrown(places int) bool {
	return len(l.raws) > 1024 && len(l.raws) > 4*places
}

func (l *labelSets) guess(place int) (int32, string) {
	if place < len(l.order) {
		i := l.order[place]
		return i, l.raws[i]
	}
	return -1, ""
}

// number returns the number of the label set at a place, and whether it is the next new one; -1
// if there are too many.
func (l *labelSets) number(place int, raw []byte) (i int32, isNew bool) {
	i, ok := l.index[string(raw)]
	if !ok {
		if len(l.raws) >= maxLabelSets {
			return -1, false
		}
		i = int32(len(l.raws))
		l.raws = append(l.raws, string(raw))
		l.index[l.raws[i]] = i
	}
	if place < len(l.order) {
		l.order[place] = i
	} else if place == len(l.order) {
		l.order = append(l.order, i)
	}
	return i, !ok
}

// forget takes back the newest number.
func (l *labelSets) forget(i int32) {
	delete(l.index, l.raws[i])
	l.raws = l.raws[:i]
	for place, set := range l.order {
		if set >= i {
			l.order = l.order[:place]
			break
		}
	}
}

// end says how many series the answer had.
func (l *labelSets) end(places int) {
	l.order = l.order[:min(places, len(l.order))]
}
