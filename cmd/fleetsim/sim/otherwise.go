package sim

import (
	"strings"

	"tocsin/fleet"
)

// The same requests as requests.go has, as other software would expose them.

// linkerdUnit has the buckets of Linkerd's proxies.
var linkerdUnit = unit{1000, []float64{
	1, 2, 3, 4, 5, 10, 20, 30, 40, 50, 100, 200, 300, 400, 500, 1000, 2000, 3000, 4000, 5000,
	10000, 20000, 30000, 40000, 50000,
}}

// linkerd writes what the proxies beside the pods count of inbound requests.
func (p *page) linkerd() {
	total := p.counterOf("response_total", "Responses that the proxy saw.")
	took := p.histogramOf("response_latency_ms", "Time to the last byte of responses.")
	for s, pod := range p.visible {
		base := pairs("namespace", s.namespace, "pod", pod.name, "direction", "inbound", "tls",
			"true", strings.ToLower(string(s.workload)), s.name)
		for code, name := range codes {
			class := "success"
			if code == codeError || code == codeUnavailable {
				class = "failure"
			}
			if n := pod.answered(code, p.left); n > 0 {
				p.counter(total, merge(base, "status_code", name, "classification", class),
					float64(n), p.labels(s, pod).began)
			}
		}
		p.latencies.fill(s.latency.first(), p.left, &pod.served, &pod.failed)
		p.histogram(took, base, &linkerdUnit, p.labels(s, pod).began)
	}
}

// otelUnit has the buckets that the semantic conventions advise.
var otelUnit = unit{1, []float64{
	.005, .01, .025, .05, .075, .1, .25, .5, .75, 1, 2.5, 5, 7.5, 10,
}}

// otel writes the histogram of the semantic conventions: its count is the only counter of requests.
func (p *page) otel() {
	took := p.histogramOf("http_server_request_duration_seconds", "Duration of requests.")
	kinds := map[fleet.Workload]string{
		fleet.Deployment: "k8s_deployment_name", fleet.StatefulSet: "k8s_statefulset_name",
		fleet.DaemonSet: "k8s_daemonset_name",
	}
	for s, pod := range p.visible {
		base := pairs("k8s_namespace_name", s.namespace, "k8s_pod_name", pod.name,
			kinds[s.workload], s.name, "service_name", s.name, "http_request_method", "GET",
			"http_route", "/", "url_scheme", "http")
		first, began := s.latency.first(), p.labels(s, pod).began
		p.latencies.fill(first, p.left, &pod.served)
		p.histogram(took, with(base, "http_response_status_code", "200"), &otelUnit, began)
		if p.latencies.fill(first, p.left, &pod.failed); p.latencies.count() > 0 {
			failed := merge(base, "http_response_status_code", "500", "error_type", "500")
			p.histogram(took, failed, &otelUnit, began)
		}
	}
}

// grpcCodes are what the codes of HTTP would be in gRPC.
var grpcCodes = [len(codes)]string{"OK", "NotFound", "Internal", "Unavailable"}

// grpc writes what the interceptors of a server count.
func (p *page) grpc() {
	handled := p.counterOf("grpc_server_handled_total", "RPCs that ended, by code.")
	started := p.counterOf("grpc_server_started_total", "RPCs that began.")
	took := p.histogramOf("grpc_server_handling_seconds", "Duration of RPCs.")
	for s, pod := range p.visible {
		base := pairs("namespace", s.namespace, "service", s.name, "pod", pod.name,
			"grpc_service", s.namespace+"."+s.name, "grpc_method", "Do", "grpc_type", "unary")
		began := p.labels(s, pod).began
		sum := uint64(0)
		for code, name := range grpcCodes {
			n := pod.answered(code, p.left)
			sum += n
			if n > 0 {
				p.counter(handled, with(base, "grpc_code", name), float64(n), began)
			}
		}
		p.counter(started, base, float64(sum), began)
		p.latencies.fill(s.latency.first(), p.left, &pod.served, &pod.failed)
		p.histogram(took, base, &httpUnit, began)
	}
}
