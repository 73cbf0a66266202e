package sim

import (
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	prom "github.com/prometheus/common/model"
)

// get asks the fleet's handler.
func get(
	t testing.TB,
	f *Fleet,
	method, url, body string,
	header ...string,
) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, url, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	f.Handler().ServeHTTP(w, r)
	return w
}

// families is what a scrape returned.
type families map[string]*dto.MetricFamily

func scrape(t testing.TB, f *Fleet, cluster string) families {
	t.Helper()
	w := get(t, f, http.MethodGet, "/clusters/"+cluster+"/metrics", "")
	if w.Code != http.StatusOK {
		t.Fatalf("scrape %s: %d %s", cluster, w.Code, w.Body)
	}
	parser := expfmt.NewTextParser(prom.UTF8Validation)
	got, err := parser.TextToMetricFamilies(w.Body)
	if err != nil {
		t.Fatalf("parse scrape of %s: %v", cluster, err)
	}
	return got
}

// each yields the metrics of a family that have all these labels; a value that ends in * is a
// prefix.
func (fs families) each(name string, labels []string, visit func(*dto.Metric)) {
	family, ok := fs[name]
	if !ok {
		return
	}
metrics:
	for _, m := range family.Metric {
		for i := 0; i < len(labels); i += 2 {
			got := label(m, labels[i])
			prefix, isPrefix := strings.CutSuffix(labels[i+1], "*")
			if got != labels[i+1] && (!isPrefix || !strings.HasPrefix(got, prefix)) {
				continue metrics
			}
		}
		visit(m)
	}
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

func (fs families) sum(name string, labels ...string) float64 {
	sum := 0.0
	fs.each(name, labels, func(m *dto.Metric) {
		sum += m.GetCounter().
			GetValue() +
			m.GetGauge().
				GetValue() +
			float64(m.GetHistogram().GetSampleCount())
	})
	return sum
}

func (fs families) count(name string, labels ...string) int {
	n := 0
	fs.each(name, labels, func(*dto.Metric) { n++ })
	return n
}

// between returns what happened to a sum from one scrape to the next.
func between(before, after families, name string, labels ...string) float64 {
	return after.sum(name, labels...) - before.sum(name, labels...)
}

// errorRatio is the share of a service's requests that failed between two scrapes.
func errorRatio(before, after families, service string) float64 {
	failed := between(before, after, "http_requests_total", "service", service, "code", "5*")
	return failed / between(before, after, "http_requests_total", "service", service)
}

// meanLatency of a service's requests between two scrapes.
func meanLatency(before, after families, service string) float64 {
	sum := func(fs families) (sum float64) {
		fs.each("http_request_duration_seconds", []string{"service", service}, func(m *dto.Metric) {
			sum += m.GetHistogram().GetSampleSum()
		})
		return sum
	}
	n := between(before, after, "http_request_duration_seconds", "service", service)
	return (sum(after) - sum(before)) / n
}

func page1(t *testing.T, f *Fleet, cluster string) string {
	t.Helper()
	return get(t, f, http.MethodGet, "/clusters/"+cluster+"/metrics", "").Body.String()
}

// values returns all that should never fall by family, labels and bucket.
func values(fs families) map[string]float64 {
	out := map[string]float64{}
	for name, family := range fs {
		for _, m := range family.Metric {
			key := name
			for _, l := range m.Label {
				key += "," + l.GetName() + "=" + l.GetValue()
			}
			if m.Counter != nil {
				out[key] = m.Counter.GetValue()
			}
			for _, b := range m.GetHistogram().GetBucket() {
				out[key+",le="+expfmtNumber(b.GetUpperBound())] = float64(b.GetCumulativeCount())
			}
		}
	}
	return out
}

func expfmtNumber(x float64) string { return prom.SampleValue(x).String() }

func rateOf(f *Fleet, service string) float64 {
	for _, s := range f.State().Clusters[0].Services {
		if s.Name == service {
			return s.Rate
		}
	}
	return math.NaN()
}

func moments(xs []float64) (mean, deviation float64) {
	for _, x := range xs {
		mean += x / float64(len(xs))
	}
	for _, x := range xs {
		deviation += (x - mean) * (x - mean) / float64(len(xs)-1)
	}
	return mean, math.Sqrt(deviation)
}
