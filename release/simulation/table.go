package simulation

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tocsin/release"
	"tocsin/release/evidence"
)

// Options configures Run. Zero values stand for the defaults given here.
type Options struct {
	Releases int       // Harmless ones for each class and style; 1,000. Of each regression there are a tenth.
	Seed     uint64    // The same seed gives the same table; 1.
	Alpha    float64   // Of our judge; 0.001.
	Class    string    // Only this one; all.
	Unruly   float64   // Multiplies the noise of services; 1.
	Other    bool      // Services are made up by the other generator.
	Styles   []Style   // Only these; all.
	Rivals   bool      // Measure the other judges too.
	Out      io.Writer // Required. Markdown.
}

// history is how many harmless releases of a service are known before it is judged, and perService how
// many harmless ones are then judged; there is one of each regression.
const (
	history    = 10
	perService = 10
)

// score is how a contestant did.
type score struct {
	name  string
	begin func(j *release.Judge, service string) contestant
	found [][]time.Duration // By harm, the harmless first.
}

// contestants returns all that are measured.
func contestants(rivals bool) []*score {
	out := []*score{{name: "tocsin", begin: func(j *release.Judge, service string) contestant {
		return &ours{trial: j.Begin(service, Bounds())}
	}}}
	if !rivals {
		return out
	}
	kayenta := func(first, every time.Duration, guard float64) func(*release.Judge, string) contestant {
		return func(*release.Judge, string) contestant {
			return &rankTest{first: first, every: every, guard: guard}
		}
	}
	return append(out,
		&score{name: "Mann-Whitney, one look", begin: kayenta(30*time.Minute, time.Hour, 0)},
		&score{name: "Mann-Whitney, every 5 min", begin: kayenta(5*time.Minute, 5*time.Minute, 0)},
		&score{name: "Mann-Whitney, one look, 25% guard", begin: kayenta(30*time.Minute, time.Hour, 0.25)},
		&score{name: "thresholds", begin: func(*release.Judge, string) contestant { return &thresholds{} }},
	)
}

// Run measures judges and prints a table for each class and style.
func Run(ctx context.Context, o Options) error {
	if o.Releases <= 0 {
		o.Releases = 1000
	}
	if o.Seed == 0 {
		o.Seed = 1
	}
	matched := false
	for _, c := range Classes() {
		if o.Class != "" && o.Class != c.Name {
			continue
		}
		matched = true
		for style := Fixed; style <= Swift; style++ {
			if len(o.Styles) > 0 && !slices.Contains(o.Styles, style) {
				continue
			}
			if err := o.measure(ctx, Shape{
				Class: c, Style: style, Before: 15 * time.Minute, Watch: 30 * time.Minute, Unruly: o.Unruly, Other: o.Other,
			}); err != nil {
				return err
			}
		}
	}
	if !matched {
		return fmt.Errorf("class %q: want low, medium or high", o.Class)
	}
	return nil
}

// measure fills one table.
func (o *Options) measure(ctx context.Context, shape Shape) error {
	harms := append([]Harm{{Name: "harmless"}}, Harms()...)
	scores := contestants(o.Rivals)
	for _, s := range scores {
		s.found = make([][]time.Duration, len(harms))
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
	for _, s := range services {
		if err := ctx.Err(); err != nil {
			return err
		}
		for h := range harms {
			for range count(h) {
				contest(s, harms[h], h, j, scores)
			}
		}
	}
	return o.print(shape, len(services), harms, scores)
}

// teach lets a judge see harmless releases of a service.
func teach(j *release.Judge, s *Service) {
	for range history {
		teachOne(j, s)
	}
}

func teachOne(j *release.Judge, s *Service) {
	t := j.Begin(s.Name(), Bounds())
	s.Release(Harm{}, func(w *evidence.Window) bool { t.Observe(w); return true })
	t.Accept()
}

// count returns how many releases with a harm each service has.
func count(harm int) int {
	if harm == 0 {
		return perService
	}
	return 1
}

// look is how often contestants look.
const look = 30 * time.Second

func contest(s *Service, harm Harm, h int, j *release.Judge, scores []*score) {
	open := make([]contestant, len(scores))
	for i := range scores {
		open[i] = scores[i].begin(j, s.Name())
	}
	var start time.Time
	s.Release(harm, func(w *evidence.Window) bool {
		for i := range w.Pods {
			if start.IsZero() && w.Pods[i].New {
				start = w.At
			}
		}
		elapsed := w.At.Sub(start)
		left := 0
		for i, c := range open {
			if c == nil {
				continue
			}
			c.observe(w)
			if !start.IsZero() && elapsed > 0 && elapsed%look == 0 && c.regressed(elapsed) {
				scores[i].found[h] = append(scores[i].found[h], elapsed)
				open[i] = nil
				continue
			}
			left++
		}
		return left > 0
	})
}

// print writes a table: a row for each contestant, a column for each harm.
func (o *Options) print(shape Shape, services int, harms []Harm, scores []*score) error {
	var b strings.Builder
	generator := ""
	if o.Other {
		generator = ", other generator"
	}
	fmt.Fprintf(&b, "### %s traffic, %s%s\n\n%d pods, %g requests/s; %d harmless releases, %d of each regression.\n\n",
		shape.Class.Name, shape.Style, generator, shape.Class.Pods, shape.Class.RPS, services*perService, services)
	b.WriteString("| judge |")
	for _, h := range harms {
		fmt.Fprintf(&b, " %s |", h.Name)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(harms)) + "\n")
	for _, s := range scores {
		fmt.Fprintf(&b, "| %s |", s.name)
		for h := range harms {
			b.WriteString(" " + share(s.found[h], services*count(h), h == 0) + " |")
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	_, err := io.WriteString(o.Out, b.String())
	return err
}

// share prints how many were found, and the median time that it took.
func share(found []time.Duration, of int, harmless bool) string {
	percent := 100 * float64(len(found)) / float64(of)
	if harmless {
		return fmt.Sprintf("**%.2f%%**", percent)
	}
	if len(found) == 0 {
		return "0%"
	}
	slices.Sort(found)
	return fmt.Sprintf("%.0f%% at %.0f s", percent, found[len(found)/2].Seconds())
}
