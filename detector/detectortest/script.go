// Package detectortest feeds a detector from a script and draws what it answered.
//
// A script is lines of text; # begins a comment:
//
//	step 1m                                         distance between instants
//	start 2024-01-01T00:00:00Z                      a Monday, if nothing else is said
//	signal latency kind=latency bad=up unit=s       and volume=, min_volume=, effect=, relative=
//	tune open_score=4 absorb=2h                     what is in detector.Tuning
//	series checkout latency                         begins a series; what follows is its life
//	  2d level=0.1 noise=0.1                        two days of 0.1 with a tenth of Gaussian noise
//	  1h level=0.2 noise=0.1
//	  history 7d level=0.1 noise=0.1                the same, in batches of history
//	  30m gap                                       no sample
//	  5m value=NaN                                  or any other constant, Inf and -1 too
//
// A segment may have: level, noise (relative), sd (absolute), ar (autocorrelation of the noise),
// daily (share of the level by which it swings over a day), weekend (factor on Saturdays and
// Sundays), trend (per hour), poisson=1 (a count with that mean; for a rate, per step), and a
// job: job (added), every, at, for. A line "jump 1h" in the life of a series moves the clock of
// the whole cluster there.
package detectortest

import (
	"bufio"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/series"
)

// Cluster is the name of the cluster that all series of a script are in.
const Cluster = "test"

// Script says what happens to some series.
type Script struct {
	Start   time.Time
	Step    time.Duration
	Signals []detector.Signal
	Tuning  detector.Tuning
	Lives   []*Life
}

// Life is what happens to one series.
type Life struct {
	ID       series.ID
	segments []segment
	seed     uint64

	rng   *rand.Rand
	drift float64 // The autocorrelated part of the noise.
}

type segment struct {
	length  time.Duration
	history bool
	gap     bool
	jump    bool
	params  map[string]float64
}

// Parse reads a script.
func Parse(text string) (*Script, error) {
	s := &Script{Start: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), Step: time.Minute}
	in := bufio.NewScanner(strings.NewReader(text))
	for n := 1; in.Scan(); n++ {
		line, _, _ := strings.Cut(in.Text(), "#")
		if words := strings.Fields(line); len(words) > 0 {
			if err := s.parse(words); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	return s, in.Err()
}

func (s *Script) parse(words []string) (err error) {
	if len(words) == 1 && slices.Contains([]string{"step", "start", "signal", "tune"}, words[0]) {
		return errors.New("want a value")
	}
	switch words[0] {
	case "step":
		s.Step, err = time.ParseDuration(words[1])
	case "start":
		s.Start, err = time.Parse(time.RFC3339, words[1])
	case "signal":
		err = s.parseSignal(words[1:])
	case "tune":
		err = s.parseTuning(words[1:])
	case "series":
		if len(words) != 3 {
			return errors.New("want series SERVICE SIGNAL")
		}
		service := fleet.Service{Cluster: Cluster, Namespace: "shop", Name: words[1]}
		id := series.ID{Service: service, Signal: words[2]}
		s.Lives = append(s.Lives, &Life{ID: id, seed: uint64(len(s.Lives) + 1)})
	default:
		if len(s.Lives) == 0 {
			return errors.New("a segment before any series")
		}
		err = s.Lives[len(s.Lives)-1].parse(words)
	}
	return err
}

func (s *Script) parseSignal(words []string) error {
	sig := detector.Signal{Name: words[0], Kind: detector.Gauge, Bad: detector.Up}
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		number, err := strconv.ParseFloat(value, 64)
		switch key {
		case "kind":
			sig.Kind, err = detector.Kind(value), nil
		case "bad":
			sig.Bad, err = detector.Direction(value), nil
		case "unit":
			sig.Unit, err = value, nil
		case "volume":
			sig.Volume, err = value, nil
		case "min_volume":
			sig.MinVolume = number
		case "effect":
			sig.MinEffect = number
		case "relative":
			sig.MinEffectRelative = number
		default:
			return fmt.Errorf("unknown %q", w)
		}
		if err != nil {
			return err
		}
	}
	s.Signals = append(s.Signals, sig)
	return nil
}

func (s *Script) parseTuning(words []string) error {
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		number, _ := strconv.ParseFloat(value, 64)
		length, _ := length(value)
		switch key {
		case "open_score":
			s.Tuning.OpenScore = number
		case "warm_up":
			s.Tuning.WarmUp = int(number)
		case "stale":
			s.Tuning.StaleAfter = length
		case "forget":
			s.Tuning.ForgetAfter = length
		case "absorb":
			s.Tuning.AbsorbAfter = length
		default:
			return fmt.Errorf("unknown %q", w)
		}
	}
	return nil
}

// length reads a duration that may begin with days.
func length(text string) (time.Duration, error) {
	days, rest, ok := strings.Cut(text, "d")
	if !ok {
		return time.ParseDuration(text)
	}
	n, err := strconv.ParseFloat(days, 64)
	d := time.Duration(n * float64(24*time.Hour))
	if err != nil || rest == "" {
		return d, err
	}
	more, err := time.ParseDuration(rest)
	return d + more, err
}

func (l *Life) parse(words []string) (err error) {
	var s segment
	if words[0] == "history" || words[0] == "jump" {
		s.history, s.jump = words[0] == "history", words[0] == "jump"
		words = words[1:]
	}
	if len(words) == 0 {
		return errors.New("want a length")
	}
	if s.length, err = length(words[0]); err != nil {
		return err
	}
	s.params = make(map[string]float64)
	for _, w := range words[1:] {
		if w == "gap" {
			s.gap = true
			continue
		}
		key, value, _ := strings.Cut(w, "=")
		if d, err := length(value); err == nil && (key == "every" || key == "at" || key == "for") {
			s.params[key] = d.Seconds()
		} else if s.params[key], err = strconv.ParseFloat(value, 64); err != nil {
			return err
		}
	}
	l.segments = append(l.segments, s)
	return nil
}

// value returns what the series shows at an instant, NaN for no sample.
func (l *Life) value(
	s *segment, at time.Time, into, step time.Duration, kind detector.Kind,
) float64 {
	p := s.params
	if s.gap {
		return math.NaN()
	}
	if v, ok := p["value"]; ok {
		return v
	}
	clock := at.Sub(at.Truncate(24 * time.Hour)).Seconds()
	v := p["level"] * (1 + p["daily"]*math.Sin(2*math.Pi*clock/86400))
	v += p["trend"] * into.Hours()
	if f, ok := p["weekend"]; ok && (at.Weekday() == time.Saturday || at.Weekday() == time.Sunday) {
		v *= f
	}
	if every := p["every"]; every > 0 && math.Mod(clock-p["at"]+every, every) < p["for"] {
		v += p["job"]
	}
	noise := l.rng.NormFloat64()
	l.drift = p["ar"]*l.drift + math.Sqrt(1-p["ar"]*p["ar"])*noise
	v = v*(1+p["noise"]*l.drift) + p["sd"]*l.drift
	if mean, ok := p["poisson"]; ok {
		count := l.poisson(mean)
		if kind == detector.Rate {
			count /= step.Seconds()
		}
		v += count
	}
	if kind != detector.Gauge {
		v = max(v, 0)
	}
	return v
}

// poisson draws a count by multiplying uniforms (Knuth), in parts where the mean is large.
func (l *Life) poisson(mean float64) float64 {
	n := 0.0
	for ; mean > 0; mean -= 30 {
		for u := l.rng.Float64(); u > math.Exp(-min(mean, 30)); u *= l.rng.Float64() {
			n++
		}
	}
	return n
}
