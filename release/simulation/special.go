package simulation

import (
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
)

// Of leaks: how long one looks, and how often.
const (
	leakWatch = 90 * time.Minute
	leakLook  = 5 * time.Minute
)

// Leaks measures our judge by releases that leak memory: the limit is what 600 MB are to pods of 300 MB.
func Leaks(ctx context.Context, o Options) error {
	harms := []Harm{{Name: "harmless"}, {Name: "0.1% of the limit a minute", Leak: 0.001}, {Name: "0.2%", Leak: 0.002}}
	shape := Shape{
		Class: Classes()[1], Style: Fixed, Before: 15 * time.Minute, Watch: leakWatch, Unruly: o.Unruly, Other: o.Other,
	}
	services := make([]*Service, max((o.Releases+perService-1)/perService, 1))
	j, err := release.New(release.Options{Alpha: o.Alpha})
	if err != nil {
		return err
	}
	for i := range services {
		services[i] = NewService(i, o.Seed, shape)
		teach(j, services[i])
	}
	found := make([][]time.Duration, len(harms))
	for _, s := range services {
		if err := ctx.Err(); err != nil {
			return err
		}
		for h := range harms {
			for range count(h) {
				if after, ok := o.leak(j, s, harms[h]); ok {
					found[h] = append(found[h], after)
				}
			}
		}
	}
	title := fmt.Sprintf("memory leaks, two new pods of twelve, %v", leakWatch)
	return o.printShort(title, harms, found, len(services))
}

// leak judges one release by its memory and everything else.
func (o *Options) leak(j *release.Judge, s *Service, h Harm) (after time.Duration, regressed bool) {
	t := j.Begin(s.Name(), Bounds())
	s.Release(h, func(w *evidence.Window) bool {
		t.Observe(w)
		if t.Started().IsZero() {
			return true
		}
		after = w.At.Sub(t.Started())
		regressed = after > 0 && after%leakLook == 0 && t.Verdict().Result == release.Regressed
		return !regressed
	})
	return after, regressed
}

// Of pools: how many clusters release the same image, and how much of what a release shifts they share.
const (
	poolClusters = 20
	poolShared   = 0.7
	poolOffset   = time.Minute
)

// Pools measures our judge by releases of one image in many clusters with little traffic in each.
func Pools(ctx context.Context, o Options) error {
	harms := []Harm{
		{Name: "harmless"},
		{Name: "errors +0.5%", Errors: 0.005},
		{Name: "errors +1%", Errors: 0.01},
		{Name: "errors +5%", Errors: 0.05},
		{Name: "latency x1.3", Latency: 1.3},
	}
	shape := Shape{
		Class: Classes()[0], Style: Fixed, Before: 15 * time.Minute, Watch: 30 * time.Minute,
		Unruly: o.Unruly, Other: o.Other, Start: time.Unix(1_700_000_000/15*15, 0).UTC(),
	}
	services := max((o.Releases+perService-1)/perService, 1)
	j, err := release.New(release.Options{Alpha: o.Alpha})
	if err != nil {
		return err
	}
	found := make([][]time.Duration, len(harms))
	for i := range services {
		if err := ctx.Err(); err != nil {
			return err
		}
		s := NewService(i, o.Seed, shape)
		s.given.Start = shape.Start.Add(time.Duration(s.rng.Int64N(24*60)) * time.Minute)
		clusters := s.clusters(poolClusters)
		for k := range history {
			teachOne(j, clusters[k])
		}
		for h := range harms {
			for range count(h) {
				if after, ok := pool(j, s, clusters, harms[h]); ok {
					found[h] = append(found[h], after)
				}
			}
		}
	}
	title := fmt.Sprintf("low traffic, fixed, %d clusters together", poolClusters)
	return o.printShort(title, harms, found, services)
}

// clusters returns the same service as it runs in several clusters.
func (s *Service) clusters(n int) []*Service {
	out := make([]*Service, n)
	for i := range out {
		c := *s
		c.rng = rand.New(rand.NewPCG(s.rng.Uint64(), uint64(i)))
		out[i] = &c
	}
	return out
}

// pool judges one image in all clusters, minute by minute.
func pool(j *release.Judge, s *Service, clusters []*Service, h Harm) (after time.Duration, regressed bool) {
	var common [3]float64
	for k := range common {
		common[k] = s.draw()
	}
	seen := make([][]evidence.Window, len(clusters))
	for i, c := range clusters {
		c.common = &common
		c.Release(h, func(w *evidence.Window) bool {
			seen[i] = append(seen[i], evidence.Window{At: w.At, Pods: slices.Clone(w.Pods)})
			return true
		})
		c.common = nil
	}
	p := j.BeginPool(s.Name())
	for tick := range seen[0] {
		for i := range seen {
			p.Observe(fmt.Sprintf("c%d", i), Bounds(), &seen[i][tick])
		}
		if p.Started().IsZero() {
			continue
		}
		after = seen[0][tick].At.Sub(p.Started())
		if after > 0 && after%poolOffset == 0 && p.Verdict().Result == release.Regressed {
			return after, true
		}
	}
	return after, false
}

// shifted draws by how much a release shifts a metric; clusters that release the same share most of it.
func (s *Service) shifted(k int) float64 {
	if s.common == nil {
		return s.draw()
	}
	return math.Sqrt(poolShared)*s.common[k] + math.Sqrt(1-poolShared)*s.draw()
}

// printShort writes a table with one row.
func (o *Options) printShort(title string, harms []Harm, found [][]time.Duration, services int) error {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%d harmless releases, %d of each regression.\n\n|", title, services*perService, services)
	for _, h := range harms {
		fmt.Fprintf(&b, " %s |", h.Name)
	}
	b.WriteString("\n" + strings.Repeat("|---", len(harms)) + "|\n|")
	for h := range harms {
		b.WriteString(" " + share(found[h], services*count(h), h == 0) + " |")
	}
	b.WriteString("\n\n")
	_, err := io.WriteString(o.Out, b.String())
	return err
}
