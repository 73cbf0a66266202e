package release

import "slices"

// follow takes in what the tracker has told: releases begin, go on and end.
func (m *Manager) follow() {
	steps := m.steps
	m.steps = nil
	for i := range steps {
		tr := &steps[i]
		switch d := m.running[tr.Release.ID]; {
		case d == nil && tr.From == "" && tr.To.Running():
			m.start(tr)
		case d == nil:
			m.missed(tr)
		case tr.To.Running():
			m.tell(d, &tr.Release, tr.At, tr)
		default:
			m.close(d, tr)
		}
	}
}

// start begins to follow a release.
func (m *Manager) start(tr *Transition) {
	r := &tr.Release
	d := newDossier(r)
	m.enter(d, r)
	m.metrics.begun.Inc()
	m.logger.Info("Release begins", "release", r.ID, "service", r.Service.String(), "new", r.New.Hash)
	m.tell(d, r, tr.At, tr)
}

// enter puts a dossier into the indexes.
func (m *Manager) enter(d *dossier, r *Release) {
	d.record.Bound = m.judge.Strictness(modelName(d.key)) / m.judge.opts.Alpha
	m.running[d.id] = d
	m.services[r.Service] = append(m.services[r.Service], d)
	m.join(d, r)
}

// missed takes in a release that was over before anybody told of it.
func (m *Manager) missed(tr *Transition) {
	m.metrics.ended.WithLabelValues(string(tr.To)).Inc()
	d := &dossier{id: tr.Release.ID, key: tr.Release.Key}
	d.record.Verdict = unjudged()
	m.tell(d, &tr.Release, tr.At, tr)
	m.keep(d, &tr.Release)
}

// close ends a release.
func (m *Manager) close(d *dossier, tr *Transition) {
	r := &tr.Release
	if d.trial != nil && m.harmless(tr) {
		d.trial.Accept()
		m.metrics.learnt.Inc()
	}
	m.metrics.ended.WithLabelValues(string(tr.To)).Inc()
	m.logger.Info("Release ends", "release", r.ID, "service", r.Service.String(),
		"state", string(tr.To), "result", r.Result.String(), "reason", r.Reason)
	m.tell(d, r, tr.At, tr)
	delete(m.running, d.id)
	others := slices.DeleteFunc(m.services[r.Service], func(o *dossier) bool { return o == d })
	if m.services[r.Service] = others; len(others) == 0 {
		delete(m.services, r.Service)
	}
	m.leave(d, r)
	m.keep(d, r)
	m.counting -= len(d.counted)
	d.counters, d.counted, d.pods = nil, nil, nil // Its trial stays for the pool's sake.
}

// harmless reports whether a release is one to learn from: it was accepted, and it was no way back
// from a bad one, whose distance is not what harmless releases differ by.
func (m *Manager) harmless(tr *Transition) bool {
	r, f := &tr.Release, m.tracker.workloads[tr.Release.Key]
	known, old := f.known(r.New.Hash), f.known(r.Old.Hash)
	accepted := known != nil && known.Standing == Accepted && known.Release == r.ID
	return tr.To == Done && accepted && !r.Back && (old == nil || old.Standing != Bad)
}

// keep remembers the record of a release that is over, without its pods.
func (m *Manager) keep(d *dossier, r *Release) {
	rec := d.snapshot(r)
	rec = rec.told()
	m.past = append(m.past, &rec)
	if len(m.past) > mostPast {
		m.past = slices.Delete(m.past, 0, len(m.past)-mostPast)
	}
}
