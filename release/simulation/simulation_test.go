package simulation

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"tocsin/release/evidence"
)

func TestTheSameSeedGivesTheSameRelease(t *testing.T) {
	sum := func() (total float64) {
		s := NewService(1, 2, Shape{Class: Classes()[0], Watch: 5 * time.Minute})
		s.Release(Harm{}, func(w *evidence.Window) bool {
			for i := range w.Pods {
				total += w.Pods[i].Requests + w.Pods[i].MemoryBytes
			}
			return true
		})
		return total
	}
	if a, b := sum(), sum(); a != b || a == 0 {
		t.Errorf("%g and %g", a, b)
	}
}

func TestHarmIsDoneToNewPodsAlone(t *testing.T) {
	s := NewService(1, 2, Shape{Class: Classes()[2], Before: 5 * time.Minute, Watch: 10 * time.Minute})
	var errors, requests [2]float64
	s.Release(Harm{Errors: 0.2}, func(w *evidence.Window) bool {
		for i := range w.Pods {
			k := 0
			if w.Pods[i].New {
				k = 1
			}
			requests[k] += w.Pods[i].Requests
			errors[k] += w.Pods[i].Errors
		}
		return true
	})
	old, fresh := errors[0]/requests[0], errors[1]/requests[1]
	if old > 0.05 || fresh < 0.19 || fresh > 0.3 {
		t.Errorf("share of errors of old pods %g, of new pods %g", old, fresh)
	}
}

func TestTheOtherGeneratorIsAnother(t *testing.T) {
	var requests, failed [2]float64
	for i, other := range []bool{false, true} {
		s := NewService(1, 2, Shape{Class: Classes()[1], Before: 5 * time.Minute, Watch: 5 * time.Minute, Other: other})
		s.Release(Harm{}, func(w *evidence.Window) bool {
			for k := range w.Pods {
				requests[i] += w.Pods[k].Requests
				failed[i] += w.Pods[k].Errors
			}
			return true
		})
	}
	if requests[0] == requests[1] || requests[1] == 0 || failed[1] > requests[1]/10 {
		t.Errorf("%g and %g requests, %g and %g of them failed", requests[0], requests[1], failed[0], failed[1])
	}
}

func TestDraws(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	const n = 20_000
	for _, m := range []float64{0.2, 5, 200} {
		var p, b float64
		for range n {
			p += poisson(rng, m) / n
			b += binomial(rng, 400, m/400) / n
		}
		if tolerance := 6 * math.Sqrt(m/n); math.Abs(p-m) > tolerance || math.Abs(b-m) > tolerance {
			t.Errorf("mean %g: poisson %g, binomial %g", m, p, b)
		}
	}
}

func TestRankSum(t *testing.T) {
	for _, tc := range []struct {
		name string
		a, b []float64
		want float64
	}{
		{"equal", []float64{1, 2, 3}, []float64{1, 2, 3}, 0},
		{"larger", []float64{4, 5, 6}, []float64{1, 2, 3}, 1.964},
		{"constant", []float64{1, 1}, []float64{1, 1}, 0},
	} {
		if got := rankSum(tc.a, tc.b); math.Abs(got-tc.want) > 0.001 {
			t.Errorf("%s: %g, want %g", tc.name, got, tc.want)
		}
	}
}

func TestRun(t *testing.T) {
	var out strings.Builder
	err := Run(context.Background(), Options{Releases: 10, Class: "low", Rivals: true, Out: &out})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"### low traffic, fixed", "rolling", "| tocsin |", "thresholds", "errors +50%"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the tables lack %q:\n%s", want, out.String())
		}
	}
	if err := Run(context.Background(), Options{Class: "huge", Out: &out}); err == nil {
		t.Error("a class that does not exist was measured")
	}
}
