package replay

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"tocsin/fleet"
	"tocsin/series"
)

// write puts text into a file of a new folder, compressed if its name says so.
func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	var w io.WriteCloser = f
	if strings.HasSuffix(name, ".gz") {
		w = gzip.NewWriter(f)
	}
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w != io.WriteCloser(f) {
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

func TestRows(t *testing.T) {
	nan := math.NaN()
	noon := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, tc := range []struct {
		name     string
		file     string
		text     string
		interval time.Duration
		signals  []string
		step     time.Duration
		want     []Row
	}{
		{
			name: "unix seconds, label and split", file: "a.csv",
			text:    "timestamp,value,label,split\n1772366400,1.5,0,1\n1772366460,,1,\n",
			signals: []string{"value"}, step: time.Minute,
			want: []Row{
				{At: noon, Time: "1772366400", Label: "0", Split: "1", Values: []float64{1.5}},
				{At: noon.Add(time.Minute), Time: "1772366460", Label: "1", Values: []float64{nan}},
			},
		},
		{
			name: "date and time, compressed", file: "a.csv.gz",
			text:    "timestamp,m0,m1\n2026-03-01 12:00:00,1,2\n2026-03-01 12:05:00,3,NaN\n",
			signals: []string{"m0", "m1"}, step: 5 * time.Minute,
			want: []Row{
				{At: noon, Time: "2026-03-01 12:00:00", Values: []float64{1, 2}},
				{At: noon.Add(5 * time.Minute), Time: "2026-03-01 12:05:00", Values: []float64{3, nan}},
			},
		},
		{
			name: "RFC 3339 with an offset", file: "a.csv",
			text:    "timestamp,v\n2026-03-01T13:00:00+01:00,1\n",
			signals: []string{"v"}, step: time.Minute,
			want: []Row{{At: noon, Time: "2026-03-01T13:00:00+01:00", Values: []float64{1}}},
		},
		{
			name: "steps", file: "a.csv", interval: 30 * time.Second,
			text:    "step,v\n0,1\n2,5\n",
			signals: []string{"v"}, step: 30 * time.Second,
			want: []Row{
				{At: time.Unix(0, 0).UTC(), Time: "0", Values: []float64{1}},
				{At: time.Unix(60, 0).UTC(), Time: "2", Values: []float64{5}},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, err := Open(write(t, tc.file, tc.text), tc.interval)
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			if diff := cmp.Diff(tc.signals, r.Signals); diff != "" {
				t.Errorf("Signals (-want +got):\n%s", diff)
			}
			if r.Interval != tc.step {
				t.Errorf("Interval = %v, want %v", r.Interval, tc.step)
			}
			var got []Row
			for {
				row, err := r.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, row)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateNaNs()); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

func TestBrokenRecordings(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		interval   time.Duration
		want       string // After the file's name.
	}{
		{name: "empty", text: "", want: ": empty file; want a header and rows"},
		{name: "no time", text: "value\n1\n", want: ":1: no column timestamp or step in the header"},
		{name: "no values", text: "timestamp,label\n1,0\n", want: ":1: no column with values in the header"},
		{name: "both times", text: "timestamp,step,v\n", want: ":1: both timestamp and step in the header; want one of them"},
		{name: "twice", text: "timestamp,v,v\n", want: `:1: column "v" stands twice in the header`},
		{name: "steps without interval", text: "step,v\n0,1\n", want: ":1: time is a column step: say with --interval how far apart steps are"},
		{name: "not a number", text: "timestamp,v\n60,1\n120,many\n", want: `:3: column v: "many" is not a number; write a number, or nothing for no sample`},
		{name: "not a time", text: "timestamp,v\nyesterday,1\n", want: `:2: timestamp "yesterday": want RFC 3339, YYYY-MM-DD hh:mm:ss, or unix seconds`},
		{name: "short row", text: "timestamp,v\n60,1\n120\n", want: ":3: wrong number of fields"},
		{name: "negative step", text: "step,v\n-1,1\n", interval: time.Second, want: `:2: step "-1" is not a row number`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			path := write(t, "a.csv", tc.text)
			err := readAll(path, tc.interval)
			if err == nil || err.Error() != path+tc.want {
				t.Errorf("got %v, want %s", err, path+tc.want)
			}
		})
	}
	path := write(t, "a.csv.gz", "timestamp,v\n60,1\n")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := readAll(path, 0); err == nil {
			t.Errorf("a gzip file cut at byte %d of %d was read without an error", n, len(whole))
		}
	}
}

func readAll(path string, interval time.Duration) error {
	r, err := Open(path, interval)
	if err != nil {
		return err
	}
	defer r.Close()
	for {
		if _, err := r.Next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// batches keeps copies of what it is sent.
type batches []series.Batch

func (s *batches) Append(_ context.Context, b *series.Batch) error {
	c := *b
	c.Refs = append([]series.Ref(nil), b.Refs...)
	c.Values = append([]float64(nil), b.Values...)
	*s = append(*s, c)
	return nil
}

func TestPlay(t *testing.T) {
	r, err := Open(write(t, "a.csv", "timestamp,a,b\n60,1,2\n120,,3\n120,4,5\n180,6,7\n"), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var sink batches
	var told []string
	target := Target{
		Service: fleet.Service{Cluster: "c", Name: "s"}, Registry: series.NewRegistry(0), Sink: &sink,
	}
	err = r.Play(context.Background(), target, func(row Row) error {
		told = append(told, row.Time)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"60", "120", "120", "180"}, told); diff != "" {
		t.Errorf("rows told (-want +got):\n%s", diff)
	}
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	batch := func(s int64, signal string, final bool, ref series.Ref, values ...float64) series.Batch {
		b := series.Batch{Cluster: "c", Signal: signal, At: at(s), Step: time.Minute, Final: final, Values: values}
		if values != nil {
			b.Refs = []series.Ref{ref}
		}
		return b
	}
	want := batches{
		batch(60, "a", false, 1, 1), batch(60, "b", true, 2, 2),
		batch(120, "a", false, 1), batch(120, "b", true, 2, 3),
		batch(180, "a", false, 1, 4), batch(180, "b", true, 2, 5), // Its own time was taken.
		batch(240, "a", false, 1, 6), batch(240, "b", true, 2, 7),
	}
	if diff := cmp.Diff(want, sink); diff != "" {
		t.Errorf("batches (-want +got):\n%s", diff)
	}
}
