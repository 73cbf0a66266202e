package detector

import (
	"errors"
	"fmt"
	"math"
	"time"

	"tocsin/detector/baseline"
	"tocsin/detector/kernel"
)

// checkSignals tells what is wrong with signals.
func checkSignals(signals []Signal) error {
	seen := make(map[string]bool)
	var errs []error
	for _, s := range signals {
		switch {
		case s.Name == "":
			errs = append(errs, errors.New("signal without a name"))
		case seen[s.Name]:
			errs = append(errs, fmt.Errorf("signal %s is there twice", s.Name))
		case !known(s.Kind):
			errs = append(errs, fmt.Errorf("signal %s: unknown kind %q", s.Name, s.Kind))
		case s.Bad != Up && s.Bad != Down && s.Bad != Both:
			errs = append(errs, fmt.Errorf("signal %s: unknown bad direction %q", s.Name, s.Bad))
		}
		seen[s.Name] = true
	}
	return errors.Join(errs...)
}

func known(k Kind) bool {
	switch k {
	case Rate, Ratio, Latency, Saturation, Count, Gauge:
		return true
	}
	return false
}

// baselineOf says how series of a signal are modelled. Window is how far back each value looks.
func baselineOf(s *Signal, window time.Duration, t *Tuning) baseline.Params {
	p := baseline.Params{Unit: 1, Period: t.Period, WarmUp: t.WarmUp}
	switch s.Kind {
	case Rate:
		p.Scale, p.Unit, p.Floor = kernel.Root, window.Seconds(), 0.7
	case Count:
		p.Scale, p.Floor = kernel.Root, 0.7
	case Ratio:
		p.Scale, p.Floor = kernel.Share, 0.03
		if s.Volume != "" {
			p.Floor = 0.015
		}
	case Latency:
		p.Scale, p.Floor = kernel.Log, 0.04
	case Saturation:
		p.Scale, p.Floor = kernel.Linear, 0.01
	default:
		p.Scale, p.Floor = kernel.Linear, 1e-9
	}
	return p
}

// shareFloor is the deviation that a share of so many events has by chance alone, on the scale
// kernel.Share.
func shareFloor(events float64) float64 {
	return 0.7 / math.Sqrt(max(events, 1))
}

// nonNegative tells whether a value below zero can only be a mistake.
func nonNegative(k Kind) bool { return k != Gauge }
