package app

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
)

// BacktestUnit is somebody who has a budget of pages.
type BacktestUnit struct {
	Name         string // Of a service, a team, or the fleet.
	Pages        int
	PagesPerWeek float64
	Budget       float64
}

// Over reports whether a unit got more pages than it accepts. One page alone is not too many.
func (u BacktestUnit) Over() bool { return u.Pages > 1 && u.PagesPerWeek > u.Budget }

// maxUnits bounds how many units are listed.
const maxUnits = 10

// spend compares the pages with the budget.
func (r *BacktestReport) spend(b detector.Budget, results []*backtestCluster) {
	r.Per = string(b.Per)
	unit := func(s fleet.Service) string {
		switch b.Per {
		case detector.PerTeam:
			return b.Team(s.Namespace)
		case detector.PerFleet:
			return string(detector.PerFleet)
		}
		return s.String()
	}
	units := make(map[string]*BacktestUnit)
	for _, result := range results {
		for _, s := range result.services {
			if units[unit(s)] == nil {
				units[unit(s)] = &BacktestUnit{Name: unit(s)}
			}
		}
	}
	r.charge(units, unit)
	for _, u := range units {
		u.Budget = b.PagesPerWeek
		r.Budget += b.PagesPerWeek
		if u.Pages > 0 {
			r.Units = append(r.Units, *u)
		}
	}
	slices.SortFunc(r.Units, func(a, b BacktestUnit) int {
		return cmp.Or(cmp.Compare(b.PagesPerWeek, a.PagesPerWeek), cmp.Compare(a.Name, b.Name))
	})
	r.Units = r.Units[:min(len(r.Units), maxUnits)]
}

// charge adds each page to the unit of the service where it began.
func (r *BacktestReport) charge(units map[string]*BacktestUnit, unit func(fleet.Service) string) {
	observed := make(map[string]time.Duration)
	for i := range r.Clusters {
		observed[r.Clusters[i].Name] = r.Clusters[i].Observed
	}
	for _, b := range r.Incidents {
		if b.Paged.IsZero() {
			continue
		}
		name := unit(b.Service)
		if units[name] == nil { // It has gone since.
			units[name] = &BacktestUnit{Name: name}
		}
		units[name].Pages++
		units[name].PagesPerWeek += float64(aWeek) / float64(observed[b.Service.Cluster])
	}
}

// BudgetLine says how the rate compares with what people accept.
func (r *BacktestReport) BudgetLine() string {
	return fmt.Sprintf("the budget per %s comes to %.3g a week", r.Per, r.Budget)
}

// budgetIn returns how many pages people accept in so long a time.
func (r *BacktestReport) budgetIn(length time.Duration) float64 {
	if r.Budget <= 0 {
		return math.NaN()
	}
	return r.Budget * float64(length) / float64(aWeek)
}
