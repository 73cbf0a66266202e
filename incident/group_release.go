package incident

import (
	"slices"
	"time"
)

// attach takes a bad release into a group. It takes the place of an older one of its workload.
func (g *group) attach(r *regression) {
	r.group = g
	first := len(g.releases)
	for k, old := range g.releases {
		if old.info.Service == r.info.Service && old.info.Workload == r.info.Workload ||
			old.info.Over() {
			first = k
			break
		}
	}
	g.releases = slices.Insert(slices.Clone(g.releases), first, r)
	g.dirty = true
}

// lead returns the release that people are told of: the first that is not over, else that of the
// incident's service, else the first; nil if there is none.
func (g *group) lead() *regression {
	for _, leads := range []func(*ReleaseInfo) bool{
		func(r *ReleaseInfo) bool { return !r.Over() },
		func(r *ReleaseInfo) bool { return r.Service == g.incident.Service },
	} {
		for _, r := range g.releases {
			if leads(&r.info) {
				return r
			}
		}
	}
	if len(g.releases) > 0 {
		return g.releases[0]
	}
	return nil
}

// cleared says whether a group is only about releases, and all of them are not held to be bad any
// more.
func (g *group) cleared() bool {
	for _, r := range g.releases {
		if r.info.Withdrawn == "" {
			return false
		}
	}
	return !g.suffering() && len(g.releases) > 0
}

// blamed says whether a release that is held to be bad runs.
func (g *group) blamed(now time.Time) bool {
	return slices.ContainsFunc(g.releases, func(r *regression) bool {
		return !r.info.Over() && now.Sub(r.known) <= unheard
	})
}

// acting says whether something is done about the group's releases, or was and did not help a
// service of which nothing else is known.
func (g *group) acting(now time.Time) bool {
	for _, a := range g.incident.Acts {
		if a.pending(now) || a.State == notRecovered && len(g.harm()) == 0 {
			return true
		}
	}
	return false
}

// maxReleases bounds how many releases an incident names.
const maxReleases = 100

// show brings what people see of the releases up to date.
func (g *group) show() {
	lead := g.lead()
	if lead == nil {
		return
	}
	if lead != g.releases[0] {
		rest := slices.DeleteFunc(slices.Clone(g.releases), func(r *regression) bool {
			return r == lead
		})
		g.releases = slices.Insert(rest, 0, lead)
	}
	lead.info.Clusters = g.clusters(&lead.info)
	info := lead.info
	g.incident.Release, g.incident.Releases = &info, nil
	if len(g.releases) == 1 {
		return
	}
	for _, r := range g.releases[:min(len(g.releases), maxReleases)] {
		g.incident.Releases = append(g.incident.Releases, ReleaseRef{
			ID: r.info.ID, Service: r.info.Service, Name: r.info.Name, State: r.info.State,
			Severity: r.info.Severity(), Over: r.info.Over(),
		})
	}
}

// clusters returns where the image of the leading release is bad, if that is in several clusters:
// its own first.
func (g *group) clusters(lead *ReleaseInfo) []string {
	out := []string{lead.Service.Cluster}
	for _, r := range g.releases {
		name := r.info.Service.Cluster
		if r.info.Withdrawn == "" && anywhere(r.info.Service) == anywhere(lead.Service) &&
			!slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	if len(out) == 1 {
		return nil
	}
	slices.Sort(out[1:])
	return out
}

// severity returns how much the releases of the group matter.
func (g *group) severity() Severity {
	var worst Severity
	for _, r := range g.releases {
		if s := r.info.Severity(); s.level() > worst.level() && r.info.Withdrawn == "" {
			worst = s
		}
	}
	if slices.ContainsFunc(g.incident.Acts, func(a Act) bool {
		return a.State == notRecovered || a.Kind == alarmActs && a.Urgent
	}) {
		return Critical
	}
	return worst
}
