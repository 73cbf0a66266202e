package sim

import (
	"cmp"
	"math"
	"slices"
	"time"

	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Exporter names a group of metric families, after what exposes them in a real cluster.
type Exporter string

// The exporters.
const (
	Istio    Exporter = "istio"    // The mesh's proxies.
	HTTP     Exporter = "http"     // The services themselves, by the common names.
	CAdvisor Exporter = "cadvisor" // The kubelets.
	Kube     Exporter = "kube"     // kube-state-metrics.
	Linkerd  Exporter = "linkerd"  // Another mesh's proxies.
	OTel     Exporter = "otel"     // The services themselves, by OpenTelemetry's names.
	GRPC     Exporter = "grpc"     // The services themselves, by the names of go-grpc-prometheus.
)

// Exporters lists all of them.
func Exporters() []Exporter { return []Exporter{Istio, HTTP, CAdvisor, Kube, Linkerd, OTel, GRPC} }

// DefaultExporters lists those that a fleet serves unless told otherwise.
func DefaultExporters() []Exporter { return []Exporter{Istio, HTTP, CAdvisor, Kube} }

// page is one scrape in the making.
type page struct {
	cluster *cluster
	seconds float64
	left    float64 // Share of the last step that has yet to happen.
	origin  time.Time

	families []*dto.MetricFamily
	metrics  []dto.Metric // What follows are stocks to take from: a scrape needs many of each.
	counters []dto.Counter
	gauges   []dto.Gauge
	numbers  []float64
	counts   []uint64
	buckets  []dto.Bucket

	latencies distribution
}

// gather returns the families of a cluster, ordered by name.
func (c *cluster) gather(f *Fleet) []*dto.MetricFamily {
	c.mu.Lock()
	defer c.mu.Unlock()
	seconds := f.Elapsed().Seconds()
	c.advance(seconds)
	p := &page{cluster: c, seconds: seconds, origin: f.origin()}
	if c.steps > 0 {
		p.left = max(0, min(1, c.seconds(c.steps)-seconds)/c.opts.Step.Seconds())
	}
	for _, e := range Exporters() {
		if slices.Contains(c.opts.Exporters, e) {
			p.export(e)
		}
	}
	p.families = slices.DeleteFunc(p.families,
		func(f *dto.MetricFamily) bool { return len(f.Metric) == 0 })
	slices.SortFunc(p.families,
		func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return p.families
}

func (p *page) export(e Exporter) {
	switch e {
	case Istio:
		p.istio()
	case HTTP:
		p.http()
	case CAdvisor:
		p.cadvisor()
	case Kube:
		p.kube()
	case Linkerd:
		p.linkerd()
	case OTel:
		p.otel()
	case GRPC:
		p.grpc()
	}
}

// family adds a family to the page.
func (p *page) family(name, help string, kind dto.MetricType) *dto.MetricFamily {
	f := &dto.MetricFamily{Name: &name, Help: &help, Type: &kind}
	p.families = append(p.families, f)
	return f
}

func (p *page) counterOf(name, help string) *dto.MetricFamily {
	return p.family(name, help, dto.MetricType_COUNTER)
}

func (p *page) gaugeOf(name, help string) *dto.MetricFamily {
	return p.family(name, help, dto.MetricType_GAUGE)
}

func (p *page) histogramOf(name, help string) *dto.MetricFamily {
	return p.family(name, help, dto.MetricType_HISTOGRAM)
}

const stock = 512

// take returns the next of a stock, and fills the stock up when it is used up.
func take[T any](from *[]T) *T {
	if len(*from) == 0 {
		*from = make([]T, stock)
	}
	x := &(*from)[0]
	*from = (*from)[1:]
	return x
}

func (p *page) number(x float64) *float64 {
	n := take(&p.numbers)
	*n = x
	return n
}

func (p *page) count(x uint64) *uint64 {
	n := take(&p.counts)
	*n = x
	return n
}

// counter adds a counter to f that began at an instant.
func (p *page) counter(
	f *dto.MetricFamily, labels []*dto.LabelPair, x float64, began *timestamppb.Timestamp,
) {
	m, c := take(&p.metrics), take(&p.counters)
	c.Value, c.CreatedTimestamp = p.number(x), began
	m.Label, m.Counter = labels, c
	f.Metric = append(f.Metric, m)
}

func (p *page) gauge(f *dto.MetricFamily, labels []*dto.LabelPair, x float64) {
	m, g := take(&p.metrics), take(&p.gauges)
	g.Value = p.number(x)
	m.Label, m.Gauge = labels, g
	f.Metric = append(f.Metric, m)
}

// time returns an instant as a timestamp.
func (p *page) time(seconds float64) *timestamppb.Timestamp {
	return timestamppb.New(p.origin.Add(time.Duration(seconds * float64(time.Second))))
}

// unix returns an instant in seconds of Unix time.
func (p *page) unix(seconds float64) float64 {
	return float64(p.origin.Unix()) + math.Round(seconds)
}

// pairs makes labels of names and values in turn. They are ordered by name.
func pairs(namesAndValues ...string) []*dto.LabelPair {
	list := make([]*dto.LabelPair, 0, len(namesAndValues)/2)
	for i := 0; i < len(namesAndValues); i += 2 {
		list = append(list, &dto.LabelPair{Name: &namesAndValues[i], Value: &namesAndValues[i+1]})
	}
	slices.SortFunc(list,
		func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return list
}

// with returns labels and one more.
func with(labels []*dto.LabelPair, name, value string) []*dto.LabelPair {
	more := append(slices.Clone(labels), &dto.LabelPair{Name: &name, Value: &value})
	slices.SortFunc(more,
		func(a, b *dto.LabelPair) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return more
}

// visible yields the pods whose own metrics can be scraped.
func (p *page) visible(yield func(*service, *pod) bool) {
	for _, s := range p.cluster.services {
		if s.outage(p.seconds) {
			continue
		}
		for _, pod := range s.pods {
			if !pod.down && !yield(s, pod) {
				return
			}
		}
	}
}
