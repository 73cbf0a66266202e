package app

import (
	"fmt"
	"time"

	"tocsin/collectors/promql"
	"tocsin/config"
	"tocsin/detector"
	"tocsin/incident"
)

// detectorOptions returns what the file says about the detector. The daemon and its backtest are built from it.
func detectorOptions(c *config.Config) detector.Options {
	return detector.Options{Signals: detectorSignals(c), Tuning: tuning(c.Detection), Budget: budget(c)}
}

// incidentOptions returns what the file says about incidents. The daemon and its backtest are built from it.
func incidentOptions(c *config.Config) incident.Options {
	return incident.Options{
		Group:   time.Duration(c.Incidents.GroupWait),
		Related: time.Duration(c.Incidents.RelatedWindow),
		Hold:    time.Duration(c.Incidents.Hold),
		Cause:   time.Duration(c.Incidents.CauseWindow),
	}
}

// detectorSignals returns what the detector must know of every signal that some cluster may be asked for.
func detectorSignals(c *config.Config) []detector.Signal {
	var out []detector.Signal
	for _, s := range c.AllSignals() {
		if !s.Enabled {
			continue
		}
		out = append(out, detector.Signal{
			Name:              s.Name,
			Kind:              detector.Kind(s.Kind),
			Unit:              s.Unit,
			Bad:               detector.Direction(s.Bad),
			Volume:            s.Volume,
			MinVolume:         s.MinVolume,
			MinEffect:         s.MinEffect,
			MinEffectRelative: s.MinEffectRelative,
		})
	}
	return out
}

// queries returns what one cluster is asked for.
func queries(c *config.Config, cluster *config.Cluster) ([]promql.Query, error) {
	resolved, err := c.Queries(cluster)
	if err != nil {
		return nil, fmt.Errorf("queries of cluster %s: %w", cluster.Name, err)
	}
	out := make([]promql.Query, len(resolved))
	for i, q := range resolved {
		out[i] = promql.Query{
			Signal:    q.Signal.Name,
			Pack:      q.Signal.Pack,
			Expr:      q.Expr,
			Probe:     q.Probe,
			Namespace: q.NamespaceLabels,
			Service:   q.ServiceLabels,
			ZeroWith:  q.Signal.ZeroWith,
		}
	}
	return out, nil
}

// budget returns how many pages people accept.
func budget(c *config.Config) detector.Budget {
	clusters, err := clusterList(c)
	b := c.Alerting.Budget
	out := detector.Budget{
		PagesPerWeek: b.PagesPerWeek, Per: detector.Per(b.Per), Team: c.Alerting.Team,
	}
	if err == nil { // Else nothing will start, for that reason.
		out.Clusters = len(clusters)
	}
	return out
}

// DefaultBudget returns how many pages people accept who do not say.
func DefaultBudget() detector.Budget { return budget(config.Default()) }

// DefaultDetection returns what the detector and the incidents of people who configure nothing are built from, and the
// severity from which they are told. What reports go to is left to the caller.
func DefaultDetection() (detector.Options, incident.Options, incident.Severity) {
	c := config.Default()
	return detectorOptions(c), incidentOptions(c), incident.Severity(c.Incidents.MinSeverity)
}

// tuning returns when a score is a finding.
func tuning(d config.Detection) detector.Tuning {
	return detector.Tuning{
		OpenScore:   d.OpenScore,
		CloseScore:  d.CloseScore,
		OpenAfter:   d.OpenAfter,
		OpenOf:      d.OpenOf,
		CloseAfter:  d.CloseAfter,
		WarmUp:      d.WarmUp,
		StaleAfter:  time.Duration(d.StaleAfter),
		ForgetAfter: time.Duration(d.ForgetAfter),
		AbsorbAfter: time.Duration(d.AbsorbAfter),
		Period:      time.Duration(d.Period),
	}
}
