package sim

import (
	"slices"

	dto "github.com/prometheus/client_model/go"

	"tocsin/fleet"
)

// kube writes what kube-state-metrics knows.
func (p *page) kube() {
	p.kubePods()
	p.kubeContainers()
	p.kubeReplicaSets()
	p.kubeWorkloads()
}

func (p *page) kubePods() {
	info := p.gaugeOf("kube_pod_info", "The pod.")
	owner := p.gaugeOf("kube_pod_owner", "What made the pod.")
	created := p.gaugeOf("kube_pod_created", "When the pod was made.")
	phase := p.gaugeOf("kube_pod_status_phase", "The phase of the pod.")
	ready := p.gaugeOf("kube_pod_status_ready", "Whether the pod is ready.")
	for _, s := range p.cluster.services {
		kind := string(s.workload)
		for _, pod := range s.pods {
			base := pairs("namespace", s.namespace, "pod", pod.name, "uid", pod.uid)
			by, name := kind, s.name
			if s.workload == fleet.Deployment {
				by, name = "ReplicaSet", s.name+"-"+pod.hash
			}
			p.gauge(info,
				merge(base, "node", pod.node, "created_by_kind", by, "created_by_name", name), 1)
			p.gauge(owner,
				merge(base, "owner_kind", by, "owner_name", name, "owner_is_controller", "true"), 1)
			p.gauge(created, base, p.unix(pod.created))
			p.gauge(phase, with(base, "phase", "Running"), 1)
			isReady := pod.ready(p.seconds)
			p.gauge(ready, with(base, "condition", "true"), indicator(isReady))
			p.gauge(ready, with(base, "condition", "false"), indicator(!isReady))
		}
	}
}

func (p *page) kubeContainers() {
	info := p.gaugeOf("kube_pod_container_info", "The container.")
	ready := p.gaugeOf("kube_pod_container_status_ready", "Whether the container is ready.")
	restarts := p.counterOf("kube_pod_container_status_restarts_total",
		"Restarts of the container.")
	last := p.gaugeOf("kube_pod_container_status_last_terminated_reason",
		"Why it ended last.")
	waiting := p.gaugeOf("kube_pod_container_status_waiting_reason", "Why the container waits.")
	limits := p.gaugeOf("kube_pod_container_resource_limits", "Limits of resources.")
	requests := p.gaugeOf("kube_pod_container_resource_requests", "Requests of resources.")
	for _, s := range p.cluster.services {
		for _, pod := range s.pods {
			base := pairs("namespace", s.namespace, "pod", pod.name, "uid", pod.uid, "container",
				s.name)
			p.gauge(info, merge(base, "image", pod.image, "image_spec", pod.image), 1)
			p.gauge(ready, base, indicator(pod.ready(p.seconds)))
			p.counter(restarts, base, float64(pod.restarts), nil)
			if pod.lastReason != "" {
				p.gauge(last, with(base, "reason", pod.lastReason), 1)
			}
			if pod.backsOff(p.seconds) {
				p.gauge(waiting, with(base, "reason", "CrashLoopBackOff"), 1)
			}
			cpu := merge(base, "node", pod.node, "resource", "cpu", "unit", "core")
			memory := merge(base, "node", pod.node, "resource", "memory", "unit", "byte")
			p.gauge(limits, cpu, s.cpuLimit)
			p.gauge(limits, memory, s.limit)
			p.gauge(requests, cpu, s.cpuLimit/2)
			p.gauge(requests, memory, s.limit/2)
		}
	}
}

func (p *page) kubeReplicaSets() {
	owner := p.gaugeOf("kube_replicaset_owner", "What made the ReplicaSet.")
	spec := p.gaugeOf("kube_replicaset_spec_replicas", "Pods wanted of the ReplicaSet.")
	for _, s := range p.cluster.services {
		if s.workload != fleet.Deployment {
			continue
		}
		var done []string
		for _, pod := range s.pods {
			if slices.Contains(done, pod.hash) {
				continue
			}
			done = append(done, pod.hash)
			n := 0
			for _, other := range s.pods {
				if other.hash == pod.hash {
					n++
				}
			}
			set := pairs("namespace", s.namespace, "replicaset", s.name+"-"+pod.hash)
			p.gauge(spec, set, float64(n))
			p.gauge(owner, merge(set,
				"owner_kind", "Deployment", "owner_name", s.name, "owner_is_controller", "true"), 1)
		}
	}
}

func (p *page) kubeWorkloads() {
	gauge := p.gaugeOf
	type workload struct{ spec, ready, unavailable, updated *dto.MetricFamily }
	of := map[fleet.Workload]workload{
		fleet.Deployment: {
			gauge("kube_deployment_spec_replicas", "Pods wanted."),
			gauge("kube_deployment_status_replicas_available", "Pods that can serve."),
			gauge("kube_deployment_status_replicas_unavailable", "Pods that can't serve."),
			gauge("kube_deployment_status_replicas_updated", "Pods of the newest revision."),
		},
		fleet.StatefulSet: {
			gauge("kube_statefulset_replicas", "Pods wanted."),
			gauge("kube_statefulset_status_replicas_ready", "Pods that can serve."),
			nil,
			gauge("kube_statefulset_status_replicas_updated", "Pods of the newest revision."),
		},
		fleet.DaemonSet: {
			gauge("kube_daemonset_status_desired_number_scheduled", "Nodes that should run a pod."),
			gauge("kube_daemonset_status_number_ready", "Nodes whose pod can serve."),
			gauge("kube_daemonset_status_number_unavailable", "Nodes whose pod can't serve."),
			gauge("kube_daemonset_status_updated_number_scheduled",
				"Nodes with a pod of the newest revision."),
		},
	}
	names := map[fleet.Workload]string{
		fleet.Deployment:  "deployment",
		fleet.StatefulSet: "statefulset",
		fleet.DaemonSet:   "daemonset",
	}
	for _, s := range p.cluster.services {
		labels := pairs("namespace", s.namespace, names[s.workload], s.name)
		n := s.count(s.desired(p.seconds), p.seconds)
		w := of[s.workload]
		p.gauge(w.spec, labels, float64(s.replicas))
		p.gauge(w.ready, labels, float64(n.ready))
		p.gauge(w.updated, labels, float64(n.updated))
		if w.unavailable != nil {
			p.gauge(w.unavailable, labels, float64(max(n.all, s.replicas)-n.ready))
		}
	}
}

// count counts the pods, those that are ready, and those of the revision that is wanted.
func (s *service) count(want revision, seconds float64) standing {
	n := standing{all: len(s.pods)}
	for _, p := range s.pods {
		if p.ready(seconds) {
			n.ready++
		}
		if s.external || p.revision == want {
			n.updated++
		}
	}
	return n
}

func merge(labels []*dto.LabelPair, namesAndValues ...string) []*dto.LabelPair {
	for i := 0; i < len(namesAndValues); i += 2 {
		labels = with(labels, namesAndValues[i], namesAndValues[i+1])
	}
	return labels
}

func indicator(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
