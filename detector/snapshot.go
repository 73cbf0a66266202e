package detector

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"tocsin/detector/baseline"
	"tocsin/series"
)

// SnapshotError says which snapshot was refused, and why.
type SnapshotError struct {
	File string
	Err  error
}

func (e *SnapshotError) Error() string {
	return fmt.Sprintf("refuse snapshot %s: %v", e.File, e.Err)
}

// Unwrap returns why.
func (e *SnapshotError) Unwrap() error { return e.Err }

const (
	snapshotSuffix = ".snapshot"
	unfinished     = ".unfinished"
)

// Snapshot writes what is known to dir, one file for each cluster, and removes the files of
// clusters that were removed. Each file is the old one or the new one, whole, whatever happens. A
// file that cannot be written does not keep the others from being written; the error names all of
// them.
func (e *Engine) Snapshot(ctx context.Context, dir string) error {
	timer := prometheus.NewTimer(e.metrics.snapshotTime)
	defer timer.ObserveDuration()
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make snapshot folder: %w", err)
	}
	var errs []error
	var buffer []byte
	total := 0
	for _, s := range e.shards {
		var names []string
		if err := e.on(ctx.Done(), s, func() { names = s.names() }); err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, name := range names {
			var err error
			if buffer, err = e.snapshotCluster(ctx, s, dir, name, buffer[:0]); err != nil {
				e.metrics.snapshotErrors.Inc()
				errs = append(errs, err)
			}
			total += len(buffer)
		}
		errs = append(errs, e.removeSnapshots(ctx, s, dir))
	}
	e.metrics.snapshotBytes.Set(float64(total))
	return errors.Join(append(errs, syncDir(dir))...)
}

// snapshotCluster writes the file of one cluster and returns the buffer that it used, empty if
// the cluster has gone or has nothing to keep yet.
func (e *Engine) snapshotCluster(
	ctx context.Context, s *shard, dir, name string, buffer []byte,
) ([]byte, error) {
	err := e.on(ctx.Done(), s, func() {
		if c := s.clusters[name]; c != nil && !c.closed.IsZero() {
			buffer = c.encode(buffer)
		}
	})
	if err != nil || len(buffer) == 0 {
		return buffer, err
	}
	if err := replaceFile(filepath.Join(dir, snapshotName(name)), buffer); err != nil {
		return buffer, fmt.Errorf("write snapshot of %s: %w", name, err)
	}
	return buffer, nil
}

func (e *Engine) removeSnapshots(ctx context.Context, s *shard, dir string) error {
	var removed []string
	if err := e.on(ctx.Done(), s, func() {
		for name := range s.removed {
			removed = append(removed, name)
		}
		clear(s.removed)
	}); err != nil {
		return err
	}
	var errs []error
	for _, name := range removed {
		err := os.Remove(filepath.Join(dir, snapshotName(name)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove snapshot of %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

// snapshotName returns the name of the file of a cluster. That of a very long name ends in its
// hash.
func snapshotName(cluster string) string {
	name := url.QueryEscape(cluster)
	if len(name) > 200 {
		h := sha256.Sum256([]byte(cluster))
		name = name[:160] + "-" + hex.EncodeToString(h[:16])
	}
	return name + snapshotSuffix
}

// replaceFile puts data in the place of what path holds. After a crash there is either.
func replaceFile(path string, data []byte) error {
	f, err := os.OpenFile(path+unfinished, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = cmp.Or(err, f.Sync())
	err = cmp.Or(err, f.Close())
	if err == nil {
		err = os.Rename(path+unfinished, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(path+unfinished))
	}
	return nil
}

// syncDir makes the renames in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync snapshot folder: %w", err)
	}
	err = cmp.Or(d.Sync(), d.Close())
	if err != nil {
		return fmt.Errorf("sync snapshot folder: %w", err)
	}
	return nil
}

// Restore reads all snapshots in dir; there need not be any. It is to be called before the first
// Append. The error joins a *SnapshotError for each file that was refused; what the others hold
// is in use all the same.
func (e *Engine) Restore(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read snapshots: %w", err)
	}
	var errs []error
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch {
		case strings.HasSuffix(path, snapshotSuffix+unfinished): // A write that was interrupted.
			errs = append(errs, os.Remove(path))
		case strings.HasSuffix(path, snapshotSuffix):
			if err := e.restoreFile(path); err != nil {
				e.metrics.refused.Inc()
				errs = append(errs, &SnapshotError{File: path, Err: err})
			}
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) restoreFile(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	m, err := decode(data)
	if err != nil {
		return err
	}
	s := e.shard(m.cluster)
	var refused error
	err = e.on(nil, s, func() {
		if s.clusters[m.cluster] != nil {
			refused = fmt.Errorf("cluster %s is known already", m.cluster)
			return
		}
		s.install(m)
	})
	return cmp.Or(err, refused)
}

// install makes the cluster that m shows.
func (s *shard) install(m *image) {
	c := newCluster(s, m.cluster)
	c.closed, c.at, c.step, c.recent = m.closed, m.closed, m.step, m.recent
	c.closes, c.behind, c.behindAt = int(m.closes), int(m.behind), m.behindAt
	for n, name := range m.services {
		c.next()
		c.names[n] = name
		if name.Name != "" {
			c.index[name] = int32(n)
		}
	}
	c.groups = baseline.RestoreGroups(m.groups)
	c.resize()
	s.clusters[m.cluster] = c
	c.spending.restore(c, m.budget)
	for i := range m.columns {
		s.installColumn(c, &m.columns[i])
	}
	for n := range slices.Backward(c.names) {
		if c.users[n] == 0 {
			delete(c.index, c.names[n])
			c.names[n].Name = ""
			c.spare = append(c.spare, int32(n))
		}
	}
	s.metrics.restored.Inc()
}

// installColumn makes a column. One of a signal that is not configured any more is left out, and
// its findings resolve.
func (s *shard) installColumn(c *cluster, m *columnImage) {
	signal := s.signals[m.signal]
	t := &s.engine.opts.Tuning
	if signal == nil || signal.Kind != m.kind || m.period != t.Period {
		for _, f := range m.findings {
			if f.State != Open {
				continue
			}
			f.State, f.Reason, f.At, f.End = Resolved, string(signalRemoved), c.closed, c.closed
			if !f.silent {
				s.metrics.findings[resolved].Inc()
				s.reports = append(s.reports, f.Finding)
			}
		}
		return
	}
	col := newColumn(c, signal, m.window)
	params := baselineOf(signal, m.window, t)
	col.model = baseline.Restore(params, s.engine.memory, m.at, len(m.slots), m.state)
	col.refs = make([]series.Ref, len(m.slots))
	col.service = make([]int32, len(m.slots))
	col.seen = make([]int64, len(m.slots))
	col.recent = make([]uint8, len(m.slots))
	col.values, col.observed = nans(len(m.slots)), nans(len(m.slots))
	col.hot = m.hot
	for slot := range m.slots {
		col.installSlot(slot, &m.slots[slot])
	}
	for slot, ref := range slices.Backward(col.refs) {
		if ref == 0 {
			col.spare = append(col.spare, slot)
		}
	}
	for _, f := range m.findings {
		f.Unit = signal.Unit
		f.Threshold = or(f.Threshold, t.OpenScore)
		if f.State == Resolved {
			if col.refs[f.slot] != 0 {
				col.settling = append(col.settling, f)
			}
			continue
		}
		col.open = append(col.open, f)
		if !f.silent {
			s.metrics.open.Inc()
		}
	}
	for _, f := range col.open {
		if col.refs[f.slot] == 0 {
			f.resolve(col, seriesEnded)
		}
	}
	col.open = slices.DeleteFunc(col.open, func(f *openFinding) bool { return f.State == Resolved })
	c.add(col)
}

// installSlot gives a slot to its series, unless the cluster has too many.
func (col *column) installSlot(slot int, m *slotImage) {
	col.service[slot] = -1
	if m.service < 0 {
		return
	}
	c := col.cluster
	id := series.ID{Service: c.names[m.service], Signal: col.signal.Name}
	ref, err := c.shard.engine.opts.Registry.Ref(id)
	if err != nil { // The registry counts what it turns away.
		return
	}
	c.users[m.service]++
	col.bind(slot, ref, m.service)
	col.seen[slot], col.recent[slot] = m.seen, m.recent
	c.shard.metrics.series[col.state(slot)].Inc()
}

func nans(n int) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = float64(nan)
	}
	return out
}
