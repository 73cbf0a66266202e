package action

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"tocsin/fleet"
	"tocsin/release"
)

// Bad is a set of images of a service that was judged bad in some cluster.
type Bad struct {
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	Images    []string  `json:"images"`
	Cluster   string    `json:"cluster"` // Where first.
	Release   string    `json:"release"` // Its ID there.
	At        time.Time `json:"at"`
	Reason    string    `json:"reason"` // Of the verdict.

	Forgiven   time.Time `json:"forgiven,omitzero"` // A person knows better.
	ForgivenBy string    `json:"forgiven_by,omitempty"`
}

// Key names the set of images: of one key there is one set.
func (b *Bad) Key() string {
	return badKey(fleet.Service{Namespace: b.Namespace, Name: b.Name}, b.Images)
}

// badKey names a set of images of a service, whatever the cluster.
func badKey(s fleet.Service, images []string) string {
	sorted := slices.Sorted(slices.Values(images))
	return strings.Join(append([]string{s.Namespace, s.Name}, sorted...), "\x00")
}

// Bad says whether images of a service were judged bad in any cluster.
func (e *Engine) Bad(s fleet.Service, images []string) (Bad, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b := e.bad[badKey(s, images)]
	if b == nil || len(images) == 0 {
		return Bad{}, false
	}
	return *b, true
}

// Forgive forgets that images of a service were judged bad: a person knows better.
func (e *Engine) Forgive(ctx context.Context, s fleet.Service, images []string, by string) error {
	key := badKey(s, images)
	e.mu.Lock()
	b := e.bad[key]
	e.mu.Unlock()
	if b == nil {
		return fmt.Errorf("forgive images of %s: %w", s, ErrUnknown)
	}
	forgiven := *b
	forgiven.Forgiven, forgiven.ForgivenBy = time.Now().UTC(), by
	if err := e.keep(ctx, Entry{At: forgiven.Forgiven, Why: "forgiven", Bad: &forgiven}); err != nil {
		return fmt.Errorf("forgive images of %s: %w", s, err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.bad, key)
	return nil
}

// known returns what is known of the images of a release from another one. The caller holds mu.
func (e *Engine) known(r *release.Record) *Bad {
	rel := &r.Release
	if len(rel.New.Images) == 0 || rel.Back {
		return nil
	}
	b := e.bad[badKey(rel.Service, rel.New.Images)]
	if b == nil || b.Release == rel.ID || b.Cluster == rel.Service.Cluster {
		return nil
	}
	return b
}

// remember keeps images that were judged bad, and warns of a release that has such.
func (l *lane) remember(ctx context.Context, r *release.Record) {
	e := l.engine
	rel := &r.Release
	v, _ := counting(r)
	if len(rel.New.Images) == 0 || badKey(rel.Service, rel.New.Images) == badKey(rel.Service, rel.Old.Images) {
		return // Then it is not the images.
	}
	e.mu.Lock()
	other := e.known(r)
	_, known := e.bad[badKey(rel.Service, rel.New.Images)]
	e.mu.Unlock()
	if v.Result == release.Regressed && !known {
		l.keepBad(ctx, r, &v)
	}
	if other != nil && !l.warned && rel.State.Running() {
		l.warned = true
		e.opts.Alarm(Alarm{
			Kind: AlarmBadImages, At: time.Now().UTC(), Release: rel.ID, Service: rel.Service,
			Text: "the release has the images that were judged bad in " + other.Cluster + ": " + other.Reason,
		})
	}
}

// keepBad remembers that the images of a release are bad, and has the lanes of others look.
func (l *lane) keepBad(ctx context.Context, r *release.Record, v *release.Verdict) {
	e := l.engine
	rel := &r.Release
	b := &Bad{
		Namespace: rel.Service.Namespace, Name: rel.Service.Name, Images: rel.New.Images,
		Cluster: rel.Service.Cluster, Release: rel.ID, At: time.Now().UTC(), Reason: v.Reason,
	}
	if err := e.keep(ctx, Entry{At: b.At, Why: "judged bad", Bad: b}); err != nil {
		e.logger.Error("Bad images are not written down", "service", rel.Service, "err", err)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.bad[b.Key()] = b
	for id, other := range e.running {
		if e.known(other) == nil {
			continue
		}
		l := e.lane(id, other.Release.Key)
		l.record = other
		e.start(l)
	}
}
