package tsdb

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/tsdb"
)

// openFiles opens the Prometheus TSDB. If that fails, blocks that cannot be read are set aside
// and it is tried again.
func (d *DB) openFiles() error {
	err := d.openOnce()
	if err == nil {
		return nil
	}
	aside, aerr := d.setAside()
	if aerr != nil || len(aside) == 0 {
		return errors.Join(err, aerr)
	}
	d.logger.Error("Blocks cannot be read and were set aside", "blocks", aside, "err", err)
	for _, name := range aside {
		d.mended = append(d.mended, fmt.Sprintf("block %s could not be read; set aside", name))
	}
	return d.openOnce()
}

func (d *DB) openOnce() error {
	// The upstream metrics go into a registry of their own first, for it is them that say what
	// was repaired.
	inner := prometheus.NewRegistry()
	db, err := tsdb.Open(d.opts.Dir, d.logger, inner, settings(&d.opts), nil)
	if err != nil {
		return err
	}
	if d.opts.Reg != nil {
		if err := d.opts.Reg.Register(inner); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	d.db = db
	if total(inner, "prometheus_tsdb_wal_corruptions_total") > 0 {
		d.logger.Warn("Write-ahead log was cut where it was damaged", "dir", d.opts.Dir)
		d.mended = append(d.mended, "the write-ahead log was cut where it was damaged")
	}
	if total(inner, "prometheus_tsdb_mmap_chunk_corruptions_total") > 0 {
		d.logger.Warn("Damaged chunks were rebuilt from the write-ahead log", "dir", d.opts.Dir)
		d.mended = append(d.mended, "damaged chunks were rebuilt from the write-ahead log")
	}
	d.metrics.mended.Add(float64(len(d.mended)))
	return nil
}

// total returns the value of a counter without labels.
func total(g prometheus.Gatherer, name string) float64 {
	families, err := g.Gather()
	if err != nil {
		return 0
	}
	sum := 0.0
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue()
		}
	}
	return sum
}

// setAside moves blocks that cannot be opened into the directory "damaged" and returns their
// names.
func (d *DB) setAside() ([]string, error) {
	entries, err := os.ReadDir(d.opts.Dir)
	if err != nil {
		return nil, err
	}
	var aside []string
	for _, e := range entries {
		if _, err := ulid.ParseStrict(e.Name()); err != nil || !e.IsDir() {
			continue
		}
		path := filepath.Join(d.opts.Dir, e.Name())
		block, err := tsdb.OpenBlock(d.logger, path, nil, nil)
		if err == nil {
			if err := block.Close(); err != nil {
				return aside, err
			}
			continue
		}
		damaged := filepath.Join(d.opts.Dir, "damaged")
		if err := os.MkdirAll(damaged, 0o700); err != nil {
			return aside, err
		}
		if err := os.Rename(path, filepath.Join(damaged, e.Name())); err != nil {
			return aside, err
		}
		aside = append(aside, e.Name())
	}
	return aside, nil
}
