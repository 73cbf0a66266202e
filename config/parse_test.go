package config

import (
	"errors"
	"strings"
	"testing"
)

// head is a file to which nothing is wrong, of four lines.
const head = `clusters:
  - name: prod
    prometheus:
      url: http://prometheus:9090
`

func TestErrorsNameTheLineAndTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		name string
		text string
		want []string
	}{
		{
			name: "mistyped field",
			text: head + "globl:\n  interval: 30s\n",
			want: []string{"5: globl: unknown field; write global"},
		},
		{
			name: "mistyped field of a cluster",
			text: "clusters:\n- name: prod\n  prometeus:\n    url: http://p\n",
			want: []string{
				"2: clusters[0].prometheus.url: is missing or empty; write a URL such as http://prometheus.monitoring:9090",
				"3: clusters[0].prometeus: unknown field; write prometheus",
			},
		},
		{
			name: "mistyped field of the HTTP client",
			text: head + "      basic_auth:\n        usename: me\n      tls_config: {ca_fil: x}\n",
			want: []string{
				"6: clusters[0].prometheus.basic_auth.usename: unknown field; write username",
				"7: clusters[0].prometheus.tls_config.ca_fil: unknown field; write ca_file",
			},
		},
		{
			name: "field like no other",
			text: head + "log:\n  colour: true\n",
			want: []string{"6: log.colour: unknown field; write one of format, level"},
		},
		{
			name: "careless about releases",
			text: head + "releases:\n  alpha: 0.5\n  interval: 100ms\n  soak: 0s\n",
			want: []string{
				"6: releases.alpha: 0.5 is not above 0, or is more than 0.1; write a share such as 0.001",
				"7: releases.interval: 100ms is too short; write 1s or more",
				"8: releases.soak: is not above 0; write more than 0",
			},
		},
		{
			name: "bad PromQL for pods",
			text: head + "pods:\n  - name: checkout\n    requests: sum by ($pod) (orders_total{$selector})\n" +
				"    errors: |\n      sum by ($pod) (\n        summ(orders_failed_total{$selector}))\n" +
				"    latency: sum by (pod) (x_bucket{$selector})\n    cpu: rate(x{$selector}[$window])[$__range]\n" +
				"    memory: 'sum by ($pod) ({job=\"x\", $selector})'\n    latency_unit: us\n",
			want: []string{
				`10: pods[0].errors: not PromQL: 2:3: parse error: unknown function with name "summ"`,
				"11: pods[0].latency: does not say where $pod and $selector belong; " +
					"write sum by ($pod) (name{$selector}), or something like it",
				"12: pods[0].cpu: not PromQL: 1:29: parse error: unexpected character in duration expression: '$'; " +
					"write $window or $interval for the variables of Grafana",
				"13: pods[0].memory: $selector is of no metric; write the name of a metric before its braces",
				`14: pods[0].latency_unit: unknown value "us"; write s`,
			},
		},
		{
			name: "pods without a name, without queries, without requests",
			text: head + "pods:\n  - name: a\n  - requests: sum by ($pod) (x{$selector})\n" +
				"  - {name: a, errors: 'sum by ($pod) (x{$selector})', pod_labels: []}\n",
			want: []string{
				"6: pods[0]: asks for nothing; write requests, or another of its queries",
				"7: pods[1].name: is missing or empty; write a name such as checkout",
				`8: pods[2].name: "a" is already the name of an item of pods on line 6; write another name`,
				"8: pods[2].errors: says little without requests; write requests too",
				"8: pods[2].pod_labels: is empty; write the label that names the pod",
			},
		},
		{
			name: "secret manager",
			text: head + "      authorization:\n        credentials_ref: x\n",
			want: []string{"6: clusters[0].prometheus.authorization.credentials_ref: unknown field; write credentials"},
		},
		{
			name: "no cluster",
			text: "log: {level: info}\n",
			want: []string{"1: clusters: no cluster is given; write clusters: with one item of name and prometheus.url"},
		},
		{
			name: "empty file",
			text: "\n# nothing\n",
			want: []string{"1: clusters: no cluster is given; write clusters: with one item of name and prometheus.url"},
		},
		{
			name: "two clusters of one name",
			text: head + "  - prometheus: {url: http://p}\n    name: prod\n",
			want: []string{`6: clusters[1].name: "prod" is already the name of an item of clusters on line 2; write another name`},
		},
		{
			name: "bad name of a cluster",
			text: "clusters:\n  - name: eu/prod\n    prometheus: {url: http://p}\n",
			want: []string{`2: clusters[0].name: "eu/prod" has a slash or a space; write letters, digits, - and _`},
		},
		{
			name: "given twice",
			text: head + "log:\n  level: info\n  level: warn\n",
			want: []string{"7: log.level: is already given on line 6; write it once"},
		},
		{
			name: "bad URLs",
			text: "clusters:\n" +
				"  - {name: a, prometheus: {url: 'prometheus:9090'}}\n" +
				"  - {name: b, prometheus: {url: 'http:///x'}}\n" +
				"  - {name: c, prometheus: {url: 'http://me:secret@[::1'}}\n" +
				"  - {name: d, prometheus: {url: 'http://p/graph?g0.expr=up'}}\n",
			want: []string{
				"2: clusters[0].prometheus.url: is not an http or https URL; write a URL such as http://prometheus.monitoring:9090",
				"3: clusters[1].prometheus.url: has no host; write a URL such as http://prometheus.monitoring:9090",
				"4: clusters[2].prometheus.url: missing ']' in host; write a URL such as http://prometheus.monitoring:9090",
				"5: clusters[3].prometheus.url: has a query or a fragment; write a URL such as http://prometheus.monitoring:9090",
			},
		},
		{
			name: "bad durations",
			text: head + "global:\n  interval: 15\n  lag: ten seconds\n  window: [1m]\n  query_timeout: 0s\n" +
				"incidents: {group_wait: 0s}\n",
			want: []string{
				`6: global.interval: not a valid duration string: "15"; write a number with a unit, such as 30s, 5m or 1d`,
				`7: global.lag: not a valid duration string: "ten seconds"; write a number with a unit, such as 30s, 5m or 1d`,
				"8: global.window: cannot unmarshal !!seq into string; write a number with a unit, such as 30s, 5m or 1d",
				"9: global.query_timeout: is not above 0; write more than 0",
				"10: incidents.group_wait: is not above 0; write more than 0",
			},
		},
		{
			name: "window shorter than the interval",
			text: head + "    interval: 5m\n",
			want: []string{"2: clusters[0].window: 2m is shorter than the interval of 5m: samples would never be seen; write 5m or more"},
		},
		{
			name: "wrong types",
			text: head + "global:\n  concurrency: many\n  backfill: yes\nlog: [info]\nsignals: {name: x}\n" +
				"detection:\n  open_score: high\nstorage:\n  path: {a: b}\n",
			want: []string{
				`6: global.concurrency: "many" is not a whole number; write a whole number`,
				"7: global.backfill: want fields, found \"yes\"; write fields below it, as in `name: value`",
				"8: log: want fields, found a list; write fields below it, as in `name: value`",
				"9: signals: want a list, found a mapping; write a list: `- ` before each item, or [a, b]",
				`11: detection.open_score: "high" is not a number; write a number`,
				"13: storage.path: want text, found a mapping; write text",
			},
		},
		{
			name: "not YAML",
			text: head + "global: [\n",
			want: []string{"5: not YAML: did not find expected node content"},
		},
		{
			name: "two documents",
			text: head + "---\nlog: {}\n",
			want: []string{"5: the file has a second document; write one document, without ---"},
		},
		{
			name: "a list at the top",
			text: "- clusters\n",
			want: []string{
				"1: want fields, found a list; write fields below it, as in `name: value`",
				"1: clusters: no cluster is given; write clusters: with one item of name and prometheus.url",
			},
		},
		{
			name: "bad PromQL",
			text: head + "signals:\n  - name: queue\n    kind: gauge\n    bad: up\n    query: max by (service) (queue_length[$window])\n",
			want: []string{"9: signals[0].query: not PromQL: 1:19: parse error: expected type instant vector in aggregation expression, got range vector"},
		},
		{
			name: "bad PromQL in the third line of the query",
			text: head + "signals:\n  - name: queue\n    kind: gauge\n    bad: up\n    query: |\n      max by ($service) (\n        rate(queue_total[$window])\n        + summ(x))\n",
			want: []string{`12: signals[0].query: not PromQL: 3:5: parse error: unknown function with name "summ"`},
		},
		{
			name: "a query that gives no vector",
			text: head + "signals:\n  - {name: queue, kind: gauge, bad: up, query: 'up[5m]'}\n",
			want: []string{"6: signals[0].query: not PromQL: gives a range vector, not an instant vector"},
		},
		{
			name: "a variable of Grafana",
			text: head + "signals:\n  - {name: queue, kind: gauge, bad: up, query: 'rate(x[$__rate_interval])'}\n",
			want: []string{"6: signals[0].query: not PromQL: 1:8: parse error: unexpected character in duration expression: '$'; write $window or $interval for the variables of Grafana"},
		},
		{
			name: "a signal with nothing",
			text: head + "signals:\n  - {}\n",
			want: []string{
				"6: signals[0].name: is missing or empty; write a name such as checkout_errors",
				"6: signals[0].kind: is missing or empty; write one of rate, ratio, latency, saturation, count, gauge",
				"6: signals[0].bad: is missing or empty; write up, down or both",
				"6: signals[0].query: is missing or empty; write PromQL",
			},
		},
		{
			name: "unknown values of a signal",
			text: head + `signals:
  - name: queue
    query: queue_length
    kind: gage
    bad: higher
    volume: istio_request
    zero_with: nothing_like_it_at_all
    min_effect: -1
    service_labels: [the service]
`,
			want: []string{
				`8: signals[0].kind: unknown value "gage"; write gauge`,
				`9: signals[0].bad: unknown value "higher"; write one of up, down, both`,
				`10: signals[0].volume: unknown value "istio_request"; write istio_requests`,
				`11: signals[0].zero_with: unknown value "nothing_like_it_at_all"; write the name of one that exists`,
				"12: signals[0].min_effect: -1 is below 0; write 0 or more",
				`13: signals[0].service_labels[0]: "the service" is not a label name; write letters, digits and _`,
			},
		},
		{
			name: "the volume is not asked for",
			text: head + "signals:\n  - name: istio_requests\n    enabled: false\n",
			want: []string{
				"7: signals[0].enabled: istio_errors, istio_latency_p50, istio_latency_p99 cannot do without it; write the same for them",
			},
		},
		{
			name: "unknown packs",
			text: head + "    packs: {enabled: [istoi]}\npacks:\n  enabled: automatic\n  disabled: [grpcs]\n",
			want: []string{
				`5: clusters[0].packs.enabled[0]: unknown value "istoi"; write istio`,
				"7: packs.enabled: want auto or a list; write auto, or a list of names",
				`8: packs.disabled[0]: unknown value "grpcs"; write grpc`,
			},
		},
		{
			name: "bad selector",
			text: head + "    selector: cluster=eu\n",
			want: []string{`5: clusters[0].selector: 1:10: parse error: unexpected identifier "eu" in label matching, expected string; write label matchers such as cluster="eu-1"`},
		},
		{
			name: "two ways to the API server, and none",
			text: head + "    kubernetes: {in_cluster: true, kubeconfig: x}\n  - name: b\n    prometheus: {url: http://p}\n    kubernetes: {namespaces: [a]}\n",
			want: []string{
				"5: clusters[0].kubernetes.in_cluster: cannot be with kubeconfig or context; write one of the two",
				"8: clusters[1].kubernetes: does not say where the API server is; write kubeconfig: FILE, context: NAME or in_cluster: true",
			},
		},
		{
			name: "clusters from contexts",
			text: `clusters_from:
  - kubeconfig: config
    contexts: ['prod-(.*)', '(']
    name: prod
    prometheus:
      url: http://prometheus.${2}.example.com
    selector: cluster=${context}
`,
			want: []string{
				"3: clusters_from[0].contexts[1]: error parsing regexp: missing closing ): `^(?:()$`; write a regular expression in RE2 syntax",
				"4: clusters_from[0].name: is the same for all contexts; write a name with ${context} or ${1} in it",
				"6: clusters_from[0].prometheus.url: unknown placeholder $2; write ${context} or ${1}",
				`7: clusters_from[0].selector: 1:10: parse error: unexpected identifier "context" in label matching, expected string; write label matchers such as cluster="eu-1"`,
			},
		},
		{
			name: "two ways to authenticate",
			text: head + "      basic_auth: {username: a, password: b}\n      authorization: {credentials: c}\n",
			want: []string{"3: clusters[0].prometheus: at most one of basic_auth, oauth2 & authorization must be configured"},
		},
		{
			name: "undefined receiver",
			text: head + "route:\n  receiver: slak\n  routes:\n    - receiver: pager\nreceivers:\n  - name: slack\n",
			want: []string{
				`6: route.receiver: unknown value "slak"; write slack`,
				`8: route.routes[0].receiver: unknown value "pager"; write slack`,
			},
		},
		{
			name: "no receiver at all",
			text: head + "route:\n  receiver: slack\n",
			want: []string{`6: route.receiver: receiver "slack" is not defined; write receivers: with one of this name`},
		},
		{
			name: "no route",
			text: head + "receivers:\n  - name: slack\n",
			want: []string{"5: receivers: no route leads to them; write route: with the name of a receiver"},
		},
		{
			name: "matchers",
			text: head + `route:
  receiver: a
  matchers: [team="x"]
  mute_time_intervals: [nights]
  routes:
    - matchers:
        - severity="critical"
        - severity=~"("
    - matchers: severity="critical"
    - mute_time_intervals: [night]
receivers: [{name: a}, {name: a}]
time_intervals: [{name: nights, time_intervals: [{times: [{start_time: '22:00', end_time: '6h'}]}]}]
`,
			want: []string{
				"7: route.matchers: the first route takes all incidents; write them in a route below it",
				"8: route.mute_time_intervals: the first route cannot be muted; write them in a route below it",
				"12: route.routes[0].matchers: failed to create matcher: error parsing regexp: missing closing ): `^(?:()$`; write a matcher such as severity=~\"warning|critical\"",
				`13: route.routes[1].matchers: want a list of matchers, found "severity=\"critical\""; write a list, as in ['severity="critical"']`,
				`14: route.routes[2].mute_time_intervals[0]: unknown value "night"; write nights`,
				`15: receivers[1].name: "a" is already the name of an item of receivers on line 15; write another name`,
				"16: time_intervals[0].time_intervals[0].times[0]: couldn't parse timestamp 6h, invalid format",
			},
		},
		{
			name: "receivers with too little and too much",
			text: head + `route: {receiver: a}
receivers:
  - name: a
    slack_configs:
      - channel: '#x'
      - {token: a, token_file: b}
    alertmanager_configs:
      - labels: {a-b: c}
    webhook_configs:
      - send_resolved: no
      - {url: 'ftp://x', secret: a, secret_file: b}
`,
			want: []string{
				"9: receivers[0].slack_configs[0].token: is missing or empty; write token or token_file",
				"10: receivers[0].slack_configs[1].token_file: cannot be with token; write one of the two",
				"10: receivers[0].slack_configs[1].channel: is missing or empty; write a channel such as #incidents",
				"12: receivers[0].alertmanager_configs[0].urls: is missing or empty; write [http://alertmanager:9093]",
				`12: receivers[0].alertmanager_configs[0].labels.a-b: "a-b" is not a label name; write letters, digits and _`,
				"14: receivers[0].webhook_configs[0].url: is missing or empty; write url or url_file",
				"15: receivers[0].webhook_configs[1].secret_file: cannot be with secret; write one of the two",
				"15: receivers[0].webhook_configs[1].url: is not an http or https URL; write a URL such as https://example.com/hook",
			},
		},
		{
			name: "scores and severities",
			text: head + "detection: {open_score: 2, close_score: 3, open_after: 9, warm_up: 1}\nincidents: {min_severity: page}\n",
			want: []string{
				"5: detection.open_score: 2 is not between the close_score of 3 and 30; write a number from close_score to 30",
				"5: detection.open_of: 5 is not between the open_after of 9 and 8; write a number from open_after to 8",
				"5: detection.warm_up: 1 samples teach nothing; write 2 or more",
				`6: incidents.min_severity: unknown value "page"; write one of info, warning, critical`,
			},
		},
		{
			name: "budgets and teams",
			text: head + "alerting:\n  budget: {pages_per_week: 0, per: teams}\n  teams:\n    - {name: pay}\n" +
				"    - {name: pay, namespaces: ['pay-[', '']}\n",
			want: []string{
				"6: alerting.budget.pages_per_week: 0 is not above 0, or is more than 100000; write a number such as 2",
				`6: alerting.budget.per: unknown value "teams"; write team`,
				"8: alerting.teams[0].namespaces: is missing or empty; write [shop, pay-*]",
				`9: alerting.teams[1].name: "pay" is already the name of an item of teams on line 8; write another name`,
				`9: alerting.teams[1].namespaces[0]: "pay-[" is not a pattern of namespaces; write a namespace, or a pattern such as pay-*`,
				`9: alerting.teams[1].namespaces[1]: "" is not a pattern of namespaces; write a namespace, or a pattern such as pay-*`,
			},
		},
		{
			name: "sizes, levels and the external URL",
			text: head + "storage: {min_free: lots}\nlog: {level: verbose, format: jsn}\nweb: {external_url: tocsin.example.com}\n",
			want: []string{
				`5: storage.min_free: "lots" is not a size; write a size such as 1GiB, a share such as 5%, or both`,
				`6: log.level: unknown value "verbose"; write one of debug, info, warn, error`,
				`6: log.format: unknown value "jsn"; write json`,
				"7: web.external_url: is not an http or https URL; write a URL such as http://prometheus.monitoring:9090",
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse("tocsin.yaml", []byte(tc.text))
			var errs Errors
			if !errors.As(err, &errs) {
				t.Fatalf("Parse() = %v, want Errors", err)
			}
			want := "tocsin.yaml:" + strings.Join(tc.want, "\ntocsin.yaml:")
			if got := err.Error(); got != want {
				t.Errorf("Parse() = \n%s\nwant\n%s", got, want)
			}
		})
	}
}
