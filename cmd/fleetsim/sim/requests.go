package sim

import (
	dto "github.com/prometheus/client_model/go"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// podLabels are the labels of a pod's metrics, made once in its life.
type podLabels struct {
	istio     [][len(codes)][]*dto.LabelPair // For each caller and code.
	duration  []*dto.LabelPair
	requests  [len(codes)][2][]*dto.LabelPair // For each code and method.
	http      []*dto.LabelPair
	container []*dto.LabelPair
	cgroup    []*dto.LabelPair // Of the pod as a whole.
	cpu       [2][]*dto.LabelPair
	began     *timestamppb.Timestamp
	beganAt   float64
}

var methods = [2]string{"GET", "POST"}

// istioUnit has the buckets of Istio's proxies.
var istioUnit = unit{1000, []float64{
	0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000, 30000, 60000,
	300000, 600000, 1800000, 3600000,
}}

// httpUnit has the default buckets of Prometheus' client libraries.
var httpUnit = unit{1, []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}}

// istio writes what the proxies of the destinations count. The duration has no labels of sources
// and codes, as operators configure it who mind its cost.
func (p *page) istio() {
	total := p.counterOf("istio_requests_total", "Requests that the proxy saw.")
	took := p.histogramOf("istio_request_duration_milliseconds", "Duration of requests.")
	for s, pod := range p.visible {
		l := p.labels(s, pod)
		for k := range pod.counts {
			for code := range codes {
				if n := pod.counts[k][code].served(p.left); n > 0 {
					p.counter(total, l.istio[k][code], float64(n), l.began)
				}
			}
		}
		p.latencies.fill(s.latency.first(), p.left, &pod.served, &pod.failed)
		p.histogram(took, l.duration, &istioUnit, l.began)
	}
}

// http writes what the services count themselves.
func (p *page) http() {
	total := p.counterOf("http_requests_total", "Requests by code and method.")
	took := p.histogramOf("http_request_duration_seconds", "Duration of requests.")
	for s, pod := range p.visible {
		l := p.labels(s, pod)
		for code := range codes {
			n := pod.answered(code, p.left)
			// Neither part falls when n grows by one.
			get := uint64(s.get * float64(n))
			for method, n := range [2]uint64{get, n - get} {
				if n > 0 {
					p.counter(total, l.requests[code][method], float64(n), l.began)
				}
			}
		}
		p.latencies.fill(s.latency.first(), p.left, &pod.served, &pod.failed)
		p.histogram(took, l.http, &httpUnit, l.began)
	}
}

// labels returns the labels of a pod.
func (p *page) labels(s *service, pod *pod) *podLabels {
	if pod.labels == nil {
		pod.labels = s.podLabels(p.cluster.services, pod)
	}
	if l := pod.labels; l.began == nil || l.beganAt != pod.started {
		l.began, l.beganAt = p.time(pod.started), pod.started
	}
	return pod.labels
}

func (s *service) podLabels(all []*service, pod *pod) *podLabels {
	destination := pairs("reporter", "destination", "namespace", s.namespace, "pod", pod.name,
		"destination_workload", s.name, "destination_workload_namespace", s.namespace,
		"destination_service", s.name+"."+s.namespace+".svc.cluster.local",
		"destination_service_name", s.name, "destination_service_namespace", s.namespace,
		"request_protocol", "http", "connection_security_policy", "mutual_tls")
	l := &podLabels{
		duration: destination,
		istio:    make([][len(codes)][]*dto.LabelPair, len(pod.counts)),
	}
	for k := range pod.counts {
		from, namespace := "unknown", "unknown"
		if k < len(s.called) {
			caller := all[s.called[k].service]
			from, namespace = caller.name, caller.namespace
		}
		source := with(with(destination, "source_workload", from), "source_workload_namespace",
			namespace)
		for i, code := range codes {
			l.istio[k][i] = with(source, "response_code", code)
		}
	}
	l.http = pairs("namespace", s.namespace, "service", s.name, "pod", pod.name)
	for i, code := range codes {
		for j, method := range methods {
			l.requests[i][j] = with(with(l.http, "code", code), "method", method)
		}
	}
	l.container = pairs("namespace", s.namespace, "pod", pod.name, "container", s.name, "image",
		pod.image)
	l.cgroup = pairs("namespace", s.namespace, "pod", pod.name, "container", "", "image", "")
	l.cpu = [2][]*dto.LabelPair{with(l.container, "cpu", "total"), with(l.cgroup, "cpu", "total")}
	return l
}

// answered returns how many requests the pod answered with a code.
func (p *pod) answered(code int, left float64) uint64 {
	n := uint64(0)
	for k := range p.counts {
		n += p.counts[k][code].served(left)
	}
	return n
}
