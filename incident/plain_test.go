package incident_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"tocsin/detector"
	"tocsin/incident"
)

func TestPlain(t *testing.T) {
	for _, tc := range []struct {
		v    float64
		unit string
		kind detector.Kind
		want string
	}{
		{0.124, "%", detector.Ratio, "12.4%"},
		{0.003, "", detector.Ratio, "0.3%"},
		{1, "", detector.Saturation, "100%"},
		{12.44, "%", detector.Gauge, "12.4%"},
		{2.1, "s", detector.Latency, "2.1s"},
		{0.18, "s", detector.Latency, "180ms"},
		{0.0000123, "s", detector.Latency, "12.3µs"},
		{0.9999, "s", detector.Latency, "1s"},
		{0, "s", detector.Latency, "0s"},
		{200, "seconds", detector.Gauge, "3m20s"},
		{1e300, "s", detector.Latency, "1e+300s"},
		{1536 << 10, "bytes", detector.Gauge, "1.5MiB"},
		{1023.9, "bytes", detector.Gauge, "1KiB"},
		{-2048, "bytes", detector.Gauge, "-2KiB"},
		{3 << 30, "bytes/s", detector.Rate, "3GiB/s"},
		{230.4, "requests/s", detector.Rate, "230/s"},
		{0.0451, "", detector.Rate, "0.0451/s"},
		{0.5, "cores", detector.Gauge, "0.5 cores"},
		{3, "", detector.Count, "3"},
		{12345, "", detector.Gauge, "12345"},
		{1e12, "", detector.Gauge, "1e+12"},
		{1e-9, "", detector.Gauge, "1e-09"},
		{math.NaN(), "s", detector.Latency, "no data"},
		{math.Inf(1), "s", detector.Latency, "beyond measure"},
	} {
		if got := incident.Plain(tc.v, tc.unit, tc.kind); got != tc.want {
			t.Errorf("Plain(%v, %q, %s) = %q, want %q", tc.v, tc.unit, tc.kind, got, tc.want)
		}
	}
}

func TestDifference(t *testing.T) {
	for _, tc := range []struct {
		observed, expected float64
		unit               string
		kind               detector.Kind
		want               string
	}{
		{0.124, 0.003, "%", detector.Ratio, "+12.1 points (41.3 times)"},
		{0.05, 0, "%", detector.Ratio, "+5 points"},
		{2.1, 0.18, "s", detector.Latency, "+1.92s (11.7 times)"},
		{0.13, 0.1, "s", detector.Latency, "+30ms (30% more)"},
		{40, 160, "requests/s", detector.Rate, "-120/s (75% less)"},
		{0, 160, "requests/s", detector.Rate, "-160/s (100% less)"},
		{-1, 2, "", detector.Gauge, "-3"},
		{2e9, 1, "", detector.Gauge, "+2e+09"},
		{math.NaN(), 1, "", detector.Gauge, "unknown"},
	} {
		got := incident.Difference(tc.observed, tc.expected, tc.unit, tc.kind)
		if got != tc.want {
			t.Errorf("Difference(%v, %v, %q) = %q, want %q", tc.observed, tc.expected, tc.unit, got,
				tc.want)
		}
	}
}

func TestPlainDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                               "0s",
		400 * time.Millisecond:          "400ms",
		40 * time.Second:                "40s",
		200 * time.Second:               "3m20s",
		65*time.Minute + 20*time.Second: "1h5m",
		52*time.Hour + 12*time.Minute:   "2d4h",
		time.Hour - time.Millisecond:    "1h",
		-5 * time.Minute:                "-5m",
		math.MinInt64:                   "-106751d23h47m16s",
	} {
		if got := incident.PlainDuration(d); got != want {
			t.Errorf("PlainDuration(%s) = %q, want %q", d, got, want)
		}
	}
}

// Nothing that comes out of a source may break the text, or make it long.
func FuzzPlain(f *testing.F) {
	f.Add(0.5, 0.1, "s", "latency")
	f.Add(math.Inf(-1), math.MaxFloat64, "bytes", "gauge")
	f.Fuzz(func(t *testing.T, observed, expected float64, unit, kind string) {
		for _, text := range []string{
			incident.Plain(observed, unit, detector.Kind(kind)),
			incident.Difference(observed, expected, unit, detector.Kind(kind)),
		} {
			if text == "" || len(text) > 80+len(unit) || strings.Contains(text, "NaN") && unit == "" {
				t.Errorf("%v of %v %q: %q", observed, expected, unit, text)
			}
		}
	})
}
