package config

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// Alerting says how many pages people accept.
type Alerting struct {
	// How many, and who accepts them.
	Budget Budget `yaml:"budget"`
	// Who owns which namespaces, for a budget per team. A namespace that nobody owns is a team of its
	// own name.
	Teams []Team `yaml:"teams,omitempty"`
}

// Budget is a number of pages. Scores that open findings follow from it and from what was observed.
type Budget struct {
	// Pages that each service, team or the fleet may cost in a week; fractions are fine.
	PagesPerWeek float64 `yaml:"pages_per_week"`
	// Who the budget is for: service, team or fleet. A budget for a team or the fleet is split over
	// the clusters in proportion to their series.
	Per string `yaml:"per"`
}

// Team owns the services of some namespaces, in all clusters.
type Team struct {
	// Name of the team.
	Name string `yaml:"name"`
	// Its namespaces; `*` stands for any letters. The first team that matches has a namespace.
	Namespaces []string `yaml:"namespaces"`
}

const perService = "service"

var budgetUnits = []string{perService, "team", "fleet"}

// Team returns who owns a namespace.
func (a *Alerting) Team(namespace string) string {
	for _, t := range a.Teams {
		if slices.ContainsFunc(t.Namespaces, func(pattern string) bool {
			ok, err := path.Match(pattern, namespace)
			return ok && err == nil // Patterns were checked.
		}) {
			return t.Name
		}
	}
	return namespace
}

func (a *Alerting) check(d *decoder) {
	if !(a.Budget.PagesPerWeek > 0 && a.Budget.PagesPerWeek <= 100_000) {
		d.failAt("alerting.budget.pages_per_week", "a number such as 2",
			"%g is not above 0, or is more than 100000", a.Budget.PagesPerWeek)
	}
	d.choice("alerting.budget.per", a.Budget.Per, budgetUnits)
	unique := d.unique("teams")
	for i, t := range a.Teams {
		field := fmt.Sprintf("alerting.teams[%d]", i)
		d.required(field+".name", t.Name, "the name of a team")
		unique(field+".name", t.Name)
		if len(t.Namespaces) == 0 {
			d.failAt(field+".namespaces", "[shop, pay-*]", "is missing or empty")
		}
		for k, pattern := range t.Namespaces {
			_, err := path.Match(pattern, "")
			if pattern == "" || err != nil || strings.ContainsAny(pattern, "/ ") {
				d.failAt(fmt.Sprintf("%s.namespaces[%d]", field, k), "a namespace, or a pattern such as pay-*",
					"%q is not a pattern of namespaces", pattern)
			}
		}
	}
}
