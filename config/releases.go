package config

import (
	"time"
)

// Releases says how releases are judged while they roll out. See verdicts.md.
type Releases struct {
	// Whether releases are followed and judged. It takes `kubernetes` of a cluster: without it nobody
	// knows of releases there.
	Enabled bool `yaml:"enabled"`
	// How often the pods of a release are looked at and their metrics are fetched, while it runs.
	Interval Duration `yaml:"interval"`
	// The chance that a harmless release is ever called regressed.
	Alpha float64 `yaml:"alpha"`
	// How long new pods must have run before a release can be healthy.
	Ready Duration `yaml:"ready"`
	// How long a release is watched once all its pods are new.
	Soak Duration `yaml:"soak"`
	// How long a rollout may be without progress before it counts as stalled.
	Deadline Duration `yaml:"deadline"`
	// How often the judge is checked for each workload, by pieces of its quiet history that are taken
	// for releases: if too many are called regressed, it is stricter with that workload.
	CheckEvery Duration `yaml:"check_every"`
}

func defaultReleases() Releases {
	return Releases{
		Enabled:  true,
		Interval: duration(15 * time.Second),
		Alpha:    0.001,
		Ready:    duration(10 * time.Minute),
		Soak:     duration(time.Hour),
		Deadline: duration(10 * time.Minute),

		CheckEvery: duration(24 * time.Hour),
	}
}

func (r *Releases) check(d *decoder) {
	if time.Duration(r.Interval) < time.Second {
		d.failAt("releases.interval", "1s or more", "%s is too short", r.Interval)
	}
	if !(r.Alpha > 0 && r.Alpha <= 0.1) {
		d.failAt("releases.alpha", "a share such as 0.001",
			"%g is not above 0, or is more than 0.1", r.Alpha)
	}
	d.positive("releases.ready", int(r.Ready))
	d.positive("releases.soak", int(r.Soak))
	d.positive("releases.deadline", int(r.Deadline))
	d.positive("releases.check_every", int(r.CheckEvery))
}
