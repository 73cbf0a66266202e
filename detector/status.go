package detector

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"tocsin/detector/budget"
	"tocsin/detector/kernel"
	"tocsin/fleet"
)

// Number is a float64 that JSON has as null where it is not a number.
type Number float64

// MarshalJSON implements json.Marshaler.
func (n Number) MarshalJSON() ([]byte, error) {
	if math.IsNaN(float64(n)) || math.IsInf(float64(n), 0) {
		return []byte("null"), nil
	}
	return strconv.AppendFloat(nil, float64(n), 'g', -1, 64), nil
}

// UnmarshalJSON reads what MarshalJSON wrote: null is not a number.
func (n *Number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = Number(math.NaN())
		return nil
	}
	v, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return fmt.Errorf("%s is no number", text)
	}
	*n = Number(v)
	return nil
}

// Status says how far the engine is.
type Status struct {
	Series   int             `json:"series"`
	Warm     int             `json:"warm"`
	Warming  int             `json:"warming"`
	Findings int             `json:"findings"` // Open ones.
	Clusters []ClusterStatus `json:"clusters"` // By name.
}

// ClusterStatus is a Status of one cluster.
type ClusterStatus struct {
	Cluster  string         `json:"cluster"`
	At       time.Time      `json:"at,omitzero"` // The newest instant that is complete.
	Services int            `json:"services"`
	Series   int            `json:"series"`
	Warm     int            `json:"warm"`
	Warming  int            `json:"warming"`
	Silent   int            `json:"silent"` // Series without a sample at the newest instant.
	Findings int            `json:"findings"`
	Reason   string         `json:"reason,omitempty"` // What the warming series wait for.
	Signals  []SignalStatus `json:"signals"`          // By name.
	Budget   BudgetStatus   `json:"budget"`
}

// BudgetStatus says what the units of a cluster cost together.
type BudgetStatus struct {
	Per       Per     `json:"per"`
	Units     int     `json:"units"`
	Asked     float64 `json:"asked_pages_per_week"`
	Achieved  float64 `json:"achieved_pages_per_week"` // Over the last weeks.
	Pages     int     `json:"pages"`                   // Since the units are known.
	Threshold float64 `json:"threshold"`               // The median of the units.
	Overspent int     `json:"overspent"`               // Units, as budget.Status says.
}

// SignalStatus is a ClusterStatus of one signal.
type SignalStatus struct {
	Signal   string    `json:"signal"`
	At       time.Time `json:"at,omitzero"` // Of the newest tick.
	Series   int       `json:"series"`
	Warm     int       `json:"warm"`
	Warming  int       `json:"warming"`
	Seasonal int       `json:"seasonal"` // Series of which the daily profile is used.
	Silent   int       `json:"silent"`
	Findings int       `json:"findings"`
	Reason   string    `json:"reason,omitempty"`
}

// ServiceStatus is what the engine knows about one service.
type ServiceStatus struct {
	Service fleet.Service  `json:"service"`
	At      time.Time      `json:"at"`
	Score   Number         `json:"score"` // Of all signals together.
	Signals []SeriesStatus `json:"signals"`
	Budget  *budget.Status `json:"budget,omitempty"` // Of the unit that pays for it.
}

// SeriesState says what may be expected of a series.
type SeriesState string

// The states of a series.
const (
	Warming SeriesState = "warming"
	Normal  SeriesState = "normal"
	Finds   SeriesState = "finding"
	Silent  SeriesState = "silent"
)

// SeriesStatus is the newest score of one series.
type SeriesStatus struct {
	Signal   string      `json:"signal"`
	Kind     Kind        `json:"kind"`
	Unit     string      `json:"unit"`
	State    SeriesState `json:"state"`
	Reason   string      `json:"reason,omitempty"` // Of warming and silent.
	Seen     time.Time   `json:"seen"`             // When there was a sample.
	Score    Number      `json:"score"`
	Observed Number      `json:"observed"`
	Expected Number      `json:"expected"`
	Lower    Number      `json:"lower"`
	Upper    Number      `json:"upper"`
	Seasonal bool        `json:"seasonal"`
	Finding  string      `json:"finding,omitempty"` // ID of the open one.

	Threshold Number   `json:"threshold"`          // Of the score, with the offset.
	Offset    Number   `json:"offset"`             // What feedback adds to it now.
	Feedback  []string `json:"feedback,omitempty"` // IDs of the feedback behind the offset.
}

// Status returns how far the engine is, as of when each shard gets to answer.
func (e *Engine) Status(ctx context.Context) (Status, error) {
	var out Status
	err := e.onAll(ctx.Done(), func(s *shard) {
		for _, name := range s.names() {
			c := s.clusters[name].status()
			out.Series += c.Series
			out.Warm += c.Warm
			out.Warming += c.Warming
			out.Findings += c.Findings
			out.Clusters = append(out.Clusters, c)
		}
	})
	if err != nil {
		return Status{}, err
	}
	slices.SortFunc(out.Clusters, func(a, b ClusterStatus) int {
		return cmp.Compare(a.Cluster, b.Cluster)
	})
	return out, nil
}

// Services returns what the engine knows about the services of a cluster, ordered; none if it
// does not know it.
func (e *Engine) Services(ctx context.Context, cluster string) ([]ServiceStatus, error) {
	var out []ServiceStatus
	s := e.shard(cluster)
	err := e.on(ctx.Done(), s, func() {
		if c := s.clusters[cluster]; c != nil {
			out = c.servicesStatus()
		}
	})
	return out, err
}

func (c *cluster) status() ClusterStatus {
	out := ClusterStatus{Cluster: c.name, At: c.closed, Services: len(c.index)}
	missing := 0
	for _, col := range c.order {
		s, most := col.status()
		missing = max(missing, most)
		out.Series += s.Series
		out.Warm += s.Warm
		out.Warming += s.Warming
		out.Silent += s.Silent
		out.Findings += s.Findings
		out.Signals = append(out.Signals, s)
	}
	out.Reason = warmingReason(out.Warming, out.Series, missing, c.step)
	out.Budget = c.budgetStatus()
	return out
}

// budgetStatus sums up the units.
func (c *cluster) budgetStatus() BudgetStatus {
	out := BudgetStatus{Per: c.shard.budget.Per}
	ledger := c.spending.ledger
	if ledger == nil || ledger.Len() == 0 {
		return out
	}
	thresholds := make([]float64, ledger.Len())
	for n := range thresholds {
		s := ledger.Status(n)
		out.Asked += s.Asked
		out.Achieved += s.Achieved
		out.Pages += s.Pages
		thresholds[n] = s.Threshold
		if s.Overspent {
			out.Overspent++
		}
	}
	slices.Sort(thresholds)
	out.Units, out.Threshold = len(thresholds), thresholds[len(thresholds)/2]
	return out
}

// warmingReason says what series wait for of which the youngest misses so many samples.
func warmingReason(warming, of, missing int, step time.Duration) string {
	if warming == 0 {
		return ""
	}
	return fmt.Sprintf("%d of %d series warm up: %s", warming, of, needs(missing, step))
}

func needs(samples int, step time.Duration) string {
	return fmt.Sprintf("need %d more samples, about %s", samples, time.Duration(samples)*step)
}

// status also returns how many samples the youngest series misses.
func (col *column) status() (SignalStatus, int) {
	out := SignalStatus{Signal: col.signal.Name, At: col.model.At(), Findings: len(col.open)}
	warmUp, missing := col.model.Params().WarmUp, 0
	for slot, ref := range col.refs {
		if ref == 0 {
			continue
		}
		out.Series++
		if col.model.Warm(slot) {
			out.Warm++
		} else {
			out.Warming++
			missing = max(missing, warmUp-col.model.Samples(slot))
		}
		if col.model.Seasonal(slot) {
			out.Seasonal++
		}
		if col.seen[slot] < col.cluster.closed.UnixNano() {
			out.Silent++
		}
	}
	out.Reason = warmingReason(out.Warming, out.Series, missing, col.cluster.step)
	return out, missing
}

func (c *cluster) servicesStatus() []ServiceStatus {
	out := make([]ServiceStatus, 0, len(c.index))
	for n, name := range c.names {
		if c.users[n] == 0 {
			continue
		}
		s := ServiceStatus{
			Service: name, At: c.closed,
			Score: Number(c.scores[n/kernel.Width][n%kernel.Width]),
		}
		if c.spending.ledger != nil {
			paid := c.spending.ledger.Status(c.spending.unit(c, int32(n)))
			s.Budget = &paid
		}
		for _, col := range c.order {
			if n < len(col.slotOf) && col.slotOf[n] != 0 {
				s.Signals = append(s.Signals, col.seriesStatus(int(col.slotOf[n])-1))
			}
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b ServiceStatus) int { return a.Service.Compare(b.Service) })
	return out
}

func (col *column) seriesStatus(slot int) SeriesStatus {
	i, l := slot/kernel.Width, slot%kernel.Width
	out := SeriesStatus{
		Signal: col.signal.Name, Kind: col.signal.Kind, Unit: col.signal.Unit,
		State: Normal, Seen: time.Unix(0, col.seen[slot]).UTC(), Seasonal: col.model.Seasonal(slot),
		Score: Number(nan), Observed: Number(nan),
		Expected: Number(nan), Lower: Number(nan), Upper: Number(nan),
	}
	if i < len(col.result.Score) {
		r := &col.result
		out.Score, out.Observed = Number(r.Score[i][l]), Number(col.observed[slot])
		out.Expected = Number(r.Expected[i][l])
		out.Lower, out.Upper = Number(r.Lower[i][l]), Number(r.Upper[i][l])
	}
	threshold, offset := col.threshold(slot)
	out.Threshold, out.Offset = Number(threshold), Number(offset)
	_, out.Feedback = col.offset(slot)
	if missing := col.model.Params().WarmUp - col.model.Samples(slot); missing > 0 {
		out.State, out.Reason = Warming, needs(missing, col.cluster.step)
	}
	if col.seen[slot] < col.cluster.closed.UnixNano() {
		out.State, out.Reason = Silent, "no sample since "+out.Seen.Format(time.RFC3339)
	}
	for _, f := range col.open {
		if f.slot == slot {
			out.State, out.Finding = Finds, f.ID
		}
	}
	return out
}
