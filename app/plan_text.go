package app

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"tocsin/collectors/promql"
)

// WriteJSON prints a plan for programs.
func (p *Plan) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(p)
}

// WriteText prints a plan for people.
func (p *Plan) WriteText(w io.Writer) error {
	t := newTables()
	t.title("CLUSTERS")
	t.row("  CLUSTER", "SERIES", "VALUES/S", "QUERIES/S", "BYTES/ROUND", "ROUND TOOK", "MEMORY",
		"CORES")
	for i := range p.Clusters {
		p.Clusters[i].text(t, p.Clusters[i].Name)
	}
	p.Total.text(t, "total, with the daemon's own")
	t.title("SIGNALS")
	t.row("  SIGNAL", "CLUSTERS", "SERIES", "BYTES/ROUND")
	p.textSignals(t)
	if len(p.Notes) > 0 {
		t.title("LOOK AT")
		for _, n := range p.Notes {
			t.row("  " + n)
		}
	}
	d := &p.Disk
	t.title("DISK after %s", span(time.Duration(d.HorizonSeconds)*time.Second))
	t.row("  scores", sizeOf(d.Scores))
	t.row("  journal", sizeOf(d.Journal), "if the alert budget is used up")
	t.row("  snapshots", sizeOf(d.Snapshots))
	t.row("  with what stays free", sizeOf(d.Total))
	c := &p.Costs
	t.title("A SERIES costs %.0f bytes, and %.0f for each stored one; "+
		"a value %.0f ns to decode, %.0f to score, %.0f to store",
		c.SeriesBytes, c.HeadBytes, c.DecodeNS, c.ScoreNS, c.WriteNS)
	l := &p.Limits
	t.title("VALUES of the chart")
	t.row(fmt.Sprintf("  resources: {requests: {cpu: %s, memory: %s}, limits: {memory: %s}}",
		l.CPURequest, l.MemoryRequest, l.MemoryLimit))
	t.row(fmt.Sprintf("  persistence: {size: %s}", l.Persistence))
	return t.writeTo(w)
}

func (n *PlanNeed) text(t *tables, name string) {
	t.row("  "+name, strconv.Itoa(n.Series), fmt.Sprintf("%.0f", n.ValuesPerSecond),
		fmt.Sprintf("%.1f", n.QueriesPerSecond),
		sizeOf(float64(n.BytesPerRound)), fmt.Sprintf("%.2fs", n.SourceSeconds), sizeOf(n.MemoryBytes),
		fmt.Sprintf("%.2g", n.Cores))
}

// textSignals sums up the signals that some cluster has.
func (p *Plan) textSignals(t *tables) {
	type sum struct {
		clusters, series int
		bytes            int64
	}
	sums := make(map[string]*sum)
	var order []string
	for i := range p.Clusters {
		for _, s := range p.Clusters[i].Signals {
			if s.State == string(promql.Off) {
				continue
			}
			if sums[s.Signal] == nil {
				sums[s.Signal] = &sum{}
				order = append(order, s.Signal)
			}
			sums[s.Signal].clusters++
			sums[s.Signal].series += max(s.Series, s.Counted*btoi(s.State == string(promql.Failing)))
			sums[s.Signal].bytes += s.Bytes
		}
	}
	for _, name := range order {
		t.row("  "+name, strconv.Itoa(sums[name].clusters), strconv.Itoa(sums[name].series),
			sizeOf(float64(sums[name].bytes)))
	}
}

// sizeOf prints bytes with three digits.
func sizeOf(bytes float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for ; bytes >= 1000 && i+1 < len(units); i++ {
		bytes /= 1024
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", bytes)
	}
	return fmt.Sprintf("%.*f %s", max(0, 2-int(math.Log10(max(bytes, 1)))), bytes, units[i])
}
