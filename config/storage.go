package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/units"
	"github.com/prometheus/common/model"
)

// Storage says what is kept on disk, and for how long.
type Storage struct {
	// Folder of all that is kept. Flag --storage.path.
	Path string `yaml:"path"`
	// How long scores are kept.
	Retention Duration `yaml:"retention"`
	// How long findings, incidents and notifications are kept.
	JournalRetention Duration `yaml:"journal_retention"`
	// Space that stays free on the disk: while there is less, scores are not written. A size such
	// as 1GiB, a share such as 5%, or both with a comma: then the larger counts.
	MinFree Free `yaml:"min_free"`
	// Up to this many series, observed, expected, lower and upper are kept beside the score; beyond
	// it, of those with a finding and of those that `detail` asks for. A series takes 1.8 KB of
	// memory.
	DetailSignals int `yaml:"detail_signals"`
	// Series of which all is kept, however many there are. Each item is a list of matchers that see
	// the labels cluster, namespace, service and signal.
	Detail []Matchers `yaml:"detail,omitempty"`
	// How often what was learnt is saved.
	SnapshotInterval Duration `yaml:"snapshot_interval"`
}

func defaultStorage() Storage {
	return Storage{
		Path:             "data",
		Retention:        duration(15 * 24 * time.Hour),
		JournalRetention: duration(400 * 24 * time.Hour),
		MinFree:          Free{Bytes: 1 << 30, Percent: 5},
		DetailSignals:    20_000,
		SnapshotInterval: duration(5 * time.Minute),
	}
}

// Details says whether all is kept of the series with these labels.
func (s *Storage) Details(set model.LabelSet) bool {
	return slices.ContainsFunc(s.Detail, func(m Matchers) bool { return m.Matches(set) })
}

// Free is an amount of disk space: bytes or a share of the disk, whichever is more.
type Free struct {
	Bytes   int64
	Percent float64
}

// UnmarshalYAML reads 1GiB, 500MB, 5%, or "5%, 1GiB".
func (f *Free) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return errors.New("want a size")
	}
	parsed, err := parseFree(text)
	if err != nil {
		return &lineError{want: "a size such as 1GiB, a share such as 5%, or both", err: err}
	}
	*f = parsed
	return nil
}

func parseFree(text string) (Free, error) {
	share, size, both := strings.Cut(text, ",")
	isShare := strings.HasSuffix(strings.TrimSpace(text), "%")
	var f Free
	var err error
	if both || isShare {
		if f.Percent, err = parseShare(share); err != nil {
			return Free{}, err
		}
	}
	if !both {
		size = text
	}
	if both || !isShare {
		f.Bytes, err = units.ParseStrictBytes(strings.TrimSpace(size))
		if err != nil || f.Bytes < 0 {
			return Free{}, fmt.Errorf("%q is not a size", size)
		}
	}
	return f, nil
}

func parseShare(text string) (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	percent, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !ok || !(percent >= 0 && percent < 100) {
		return 0, fmt.Errorf("%q is not a share from 0%% to 99%%", text)
	}
	return percent, nil
}

// MarshalYAML returns what UnmarshalYAML reads.
func (f Free) MarshalYAML() (any, error) { return f.String(), nil }

// String returns the amount as it is written.
func (f Free) String() string {
	share := strconv.FormatFloat(f.Percent, 'g', -1, 64) + "%"
	size := strings.ReplaceAll(units.Base2Bytes(f.Bytes).String(), " ", "")
	switch {
	case f.Percent == 0:
		return size
	case f.Bytes == 0:
		return share
	}
	return share + ", " + size
}
