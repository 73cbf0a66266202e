package api

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"

	"tocsin/detector"
	"tocsin/fleet"
	"tocsin/incident"
)

// list is one of those whose items the journal has. Those in a live state come from their owner,
// as they are now; the others from the journal, by their last report, the newest first.
type list struct {
	name string            // In cursors.
	kind string            // Of records.
	data map[string]string // Parameters, and where in the data their values are.
	live []string          // States in which an item is with its owner.
	over []string          // States in which it is with the journal alone.
}

// item is one that its owner knows.
type item struct {
	id      string
	at      time.Time // Of its last report.
	order   time.Time // By which live items are ordered, the newest first.
	service fleet.Service
	values  map[string]string // Of the other parameters.
	data    any
}

var serviceData = map[string]string{
	"cluster": "service.cluster", "namespace": "service.namespace", "service": "service.service",
}

// with returns parameters of a list that also has those of a service.
func with(more map[string]string) map[string]string {
	for name, path := range serviceData {
		more[name] = path
	}
	return more
}

func findingList() list {
	return list{
		name: "findings", kind: KindFinding,
		data: with(map[string]string{"signal": "signal", "state": "state"}),
		live: []string{string(detector.Open)},
		over: []string{string(detector.Resolved)},
	}
}

func incidentList() list {
	return list{
		name: "incidents", kind: KindIncident,
		data: with(map[string]string{"severity": "severity", "state": "state"}),
		live: []string{string(incident.Open), string(incident.Acknowledged)},
		over: []string{string(incident.Resolved)},
	}
}

func changeList() list {
	return list{name: "changes", kind: KindChange, data: with(map[string]string{"kind": "kind"})}
}

// read reads what r asks for.
func (l *list) read(r *http.Request) (params, HistoryQuery, error) {
	known := []string{"since", "until", "limit", "cursor"}
	for name := range l.data {
		known = append(known, name)
	}
	slices.Sort(known)
	p, err := parameters(r, known...)
	if err != nil {
		return nil, HistoryQuery{}, err
	}
	q, err := l.query(p)
	return p, q, err
}

// serveLive returns the page that r asks for of a list whose items are all with their owner.
func (s *Server) serveLive(r *http.Request, l list, owner func() []item) (page, error) {
	p, q, err := l.read(r)
	if err != nil {
		return page{}, err
	}
	return l.current(p, q, owner())
}

// serve returns the page that r asks for. owner returns the items that are live.
func (s *Server) serve(r *http.Request, l list, owner func() ([]item, error)) (page, error) {
	p, q, err := l.read(r)
	if err != nil {
		return page{}, err
	}
	items, err := owner()
	if err != nil {
		return page{}, err
	}
	if slices.Contains(l.live, p["state"]) {
		return l.current(p, q, items)
	}
	return s.past(r, l, p, q, items)
}

// query reads what is common to the items of an owner and those of the journal.
func (l *list) query(p params) (HistoryQuery, error) {
	q := HistoryQuery{Kind: l.kind, Match: make(map[string]string)}
	if states := append(slices.Clone(l.live), l.over...); len(states) > 0 {
		if _, err := p.oneOf("state", states...); err != nil {
			return q, err
		}
	}
	var err error
	if q.Limit, err = p.limit(); err != nil {
		return q, err
	}
	if q.Since, err = p.time("since"); err != nil {
		return q, err
	}
	if q.Until, err = p.time("until"); err != nil {
		return q, err
	}
	for name, path := range l.data {
		if value, ok := p[name]; ok {
			q.Match[path] = value
		}
	}
	return q, nil
}

// current returns a page of live items.
func (l *list) current(p params, q HistoryQuery, items []item) (page, error) {
	key := func(i item) string { return strconv.FormatInt(-i.order.UnixNano(), 10) + " " + i.id }
	from, err := p.cursor(l.name + " " + p["state"])
	if err != nil {
		return page{}, err
	}
	slices.SortFunc(items, func(a, b item) int {
		return cmp.Or(b.order.Compare(a.order), cmp.Compare(a.id, b.id))
	})
	if from != "" {
		n := slices.IndexFunc(items, func(i item) bool { return key(i) == from })
		items = items[n+1:] // From the beginning if that item is live no more.
	}
	out := make([]any, 0, q.Limit)
	last := ""
	for _, i := range items {
		if !i.wanted(p, q) {
			continue
		}
		if len(out) == q.Limit {
			return page{data: out, next: next(l.name+" "+p["state"], last)}, nil
		}
		out = append(out, i.data)
		last = key(i)
	}
	return page{data: out}, nil
}

// wanted says whether an item is one that was asked for.
func (i *item) wanted(p params, q HistoryQuery) bool {
	for name, value := range i.values {
		if want, ok := p[name]; ok && want != value {
			return false
		}
	}
	return p.names(i.service) && !i.at.Before(q.Since) && (q.Until.IsZero() || i.at.Before(q.Until))
}

// past returns a page of what the journal has. An item that is live is given as its owner knows
// it.
func (s *Server) past(
	r *http.Request, l list, p params, q HistoryQuery, items []item,
) (page, error) {
	var err error
	if q.Before, err = p.number(l.name); err != nil {
		return page{}, err
	}
	limit := q.Limit
	q.Limit++ // One more says whether there is another page.
	records, err := s.opts.History.Read(r.Context(), q)
	if err != nil {
		return page{}, err
	}
	more := ""
	if len(records) > limit {
		records = records[:limit]
		more = next(l.name, strconv.FormatInt(records[limit-1].Seq, 10))
	}
	live := make(map[string]any, len(items))
	for _, i := range items {
		live[i.id] = i.data
	}
	out := make([]any, 0, len(records))
	for _, record := range records {
		if data, ok := live[record.Key]; ok && p["state"] == "" {
			out = append(out, data)
			continue
		}
		out = append(out, record.Data)
	}
	return page{data: out, next: more}, nil
}

// one returns the item of r's ID, from its owner or from the journal.
func (s *Server) one(r *http.Request, l list, owner func() ([]item, error)) (page, error) {
	if _, err := parameters(r); err != nil {
		return page{}, err
	}
	id := r.PathValue("id")
	items, err := owner()
	if err != nil {
		return page{}, err
	}
	for _, i := range items {
		if i.id == id {
			return page{data: i.data}, nil
		}
	}
	records, err := s.opts.History.Read(r.Context(), HistoryQuery{Kind: l.kind, Key: id, Limit: 1})
	if err != nil {
		return page{}, err
	}
	if len(records) == 0 {
		return page{}, absent("there is no %s with the ID %q", l.kind, id)
	}
	return page{data: records[0].Data}, nil
}

func (s *Server) findings(r *http.Request) (page, error) {
	return s.serve(r, findingList(), s.openFindings(r))
}

func (s *Server) finding(r *http.Request) (page, error) {
	return s.one(r, findingList(), s.openFindings(r))
}

// openFindings returns the findings that the detector has.
func (s *Server) openFindings(r *http.Request) func() ([]item, error) {
	return func() ([]item, error) {
		all, err := s.opts.Findings.Findings(r.Context())
		items := make([]item, 0, len(all))
		for _, f := range all {
			items = append(items, item{
				id: f.ID, at: f.At, order: f.Start, service: f.Service,
				values: map[string]string{"signal": f.Signal, "state": string(f.State)},
				data:   f,
			})
		}
		return items, err
	}
}

func (s *Server) incidents(r *http.Request) (page, error) {
	return s.serve(r, incidentList(), s.knownIncidents)
}

func (s *Server) incident(r *http.Request) (page, error) {
	return s.one(r, incidentList(), s.knownIncidents)
}

// knownIncidents returns the incidents that their manager has: the open ones, and some that are
// over.
func (s *Server) knownIncidents() ([]item, error) {
	all := s.opts.Incidents.Incidents()
	items := make([]item, 0, len(all))
	for _, i := range all {
		items = append(items, item{
			id: i.ID, at: i.Updated, order: i.Opened, service: i.Service,
			values: map[string]string{"severity": string(i.Severity), "state": string(i.State)},
			data:   i,
		})
	}
	return items, nil
}

func (s *Server) changes(r *http.Request) (page, error) {
	return s.serve(r, changeList(), func() ([]item, error) { return nil, nil })
}

func (s *Server) change(r *http.Request) (page, error) {
	return s.one(r, changeList(), func() ([]item, error) { return nil, nil })
}
