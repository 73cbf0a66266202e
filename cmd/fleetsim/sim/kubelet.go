package sim

import dto "github.com/prometheus/client_model/go"

// cadvisor writes what the kubelets measure: for each container, and again for each pod as a whole,
// whose label container is empty.
func (p *page) cadvisor() {
	usage := p.counterOf("container_cpu_usage_seconds_total", "CPU time used.")
	periods := p.counterOf("container_cpu_cfs_periods_total", "Enforcement periods.")
	throttled := p.counterOf("container_cpu_cfs_throttled_periods_total",
		"Those that it had to wait in.")
	memory := p.gaugeOf("container_memory_working_set_bytes", "Memory in use.")
	resident := p.gaugeOf("container_memory_rss", "Anonymous memory.")
	limit := p.gaugeOf("container_spec_memory_limit_bytes", "Memory limit.")
	began := p.gaugeOf("container_start_time_seconds", "When the container started.")
	for _, s := range p.cluster.services {
		for _, pod := range s.pods {
			if pod.down {
				continue
			}
			l := p.labels(s, pod)
			for i, labels := range [2][]*dto.LabelPair{l.container, l.cgroup} {
				p.counter(usage, l.cpu[i], pod.cpu-pod.cpuStep*p.left, l.began)
				p.gauge(memory, labels, pod.memory*s.limit)
			}
			p.counter(periods, l.container, float64(pod.periods.served(p.left)), l.began)
			p.counter(throttled, l.container, float64(pod.throttled.served(p.left)), l.began)
			p.gauge(resident, l.container, 0.85*pod.memory*s.limit)
			p.gauge(limit, l.container, s.limit)
			p.gauge(began, l.container, p.unix(pod.started))
		}
	}
}
