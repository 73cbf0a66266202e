package config

import (
	"time"

	commonconfig "github.com/prometheus/common/config"
	"go.yaml.in/yaml/v3"
)

// Remediation says what is done about releases that have regressed. By default that is nothing: in
// the mode observe everything happens but the write. See rollback.md.
type Remediation struct {
	// How far tocsin goes by itself: `observe`, `ask` (once a person has approved) or `auto`.
	Mode string `yaml:"mode"`
	// What the annotation `tocsin/rollback` of a workload may raise the mode to; `mode` if empty. It
	// may always lower it.
	MaxMode string `yaml:"max_mode,omitempty"`
	// What may be done: `pause` a rollout, `rollback` (of Argo Rollouts that are in progress: abort),
	// `webhook`.
	Actions []string `yaml:"actions"`
	// How workloads may be written that are part of something else.
	Owners Owners `yaml:"owners"`
	// What is otherwise for some workloads. The first rule that matches counts.
	Rules []RemediationRule `yaml:"rules,omitempty"`

	// How long an approval is waited for, and how long it counts.
	ApprovalExpiry Duration `yaml:"approval_expiry"`
	// How long a verdict must have stood before a release is taken back, unless its evidence is
	// overwhelming.
	Confirm Duration `yaml:"confirm"`
	// How old the newest evidence may be. Older evidence never leads to an action.
	EvidenceAge Duration `yaml:"evidence_age"`
	// How long a service is watched after its release was taken back.
	Soak Duration `yaml:"soak"`
	// How long after a workload was taken back it is not taken back again.
	CoolDown Duration `yaml:"cool_down"`
	// A bad revision that is back so soon was brought by a reconciler: then people are told, and
	// nothing is done.
	Relapse Duration `yaml:"relapse"`
	// Whether a release is paused while it rolls out whose images were judged bad in another cluster.
	HoldBadImages bool `yaml:"hold_bad_images"`

	// How much may be done in an hour.
	Limits Limits `yaml:"limits_per_hour"`
	// When so many releases go bad that nothing is done.
	Storm Storm `yaml:"storm"`
	// So many actions in a row that fail or do not help stop all others, until a person goes on.
	Breaker int `yaml:"breaker"`

	// When nothing is done, such as over the holidays.
	Freeze []Window `yaml:"freeze,omitempty"`
	// When people are at work, so that nothing is done.
	Maintenance []Window `yaml:"maintenance,omitempty"`
	// A ConfigMap by which people stop all actions in its cluster.
	KillSwitch KillSwitch `yaml:"kill_switch,omitempty"`
	// Which services a service calls: `shop/web: [shop/cart, auth/login]`. A release is not blamed for
	// what it calls, and only one service of such a chain is taken back at a time.
	Dependencies map[string][]string `yaml:"dependencies,omitempty"`
	// The user's own automation, which takes a release back by a revert in git.
	Webhook *Revert `yaml:"webhook,omitempty"`
}

// Owners says how workloads may be written that are part of something else.
type Owners struct {
	// Of a Helm release: `ask` a person, or let it `drift` from the release.
	Helm string `yaml:"helm"`
	// Of Argo CD: `ask`, or `suspend` the application for a time.
	ArgoCD string `yaml:"argo_cd"`
	// Of Flux: `ask`, or `suspend` the HelmRelease or Kustomization for a time.
	Flux string `yaml:"flux"`
	// How long an owner is suspended.
	Hold Duration `yaml:"hold"`
}

// Where says which workloads something is about. A list that is not there takes all; in a pattern
// `*` stands for any letters.
type Where struct {
	// Names of clusters, or patterns.
	Clusters []string `yaml:"clusters,omitempty"`
	// Namespaces, or patterns.
	Namespaces []string `yaml:"namespaces,omitempty"`
	// Names of teams, or patterns.
	Teams []string `yaml:"teams,omitempty"`
	// Names of services, or patterns.
	Services []string `yaml:"services,omitempty"`
	// Kinds: Deployment, StatefulSet, DaemonSet, Rollout.
	Kinds []string `yaml:"kinds,omitempty"`
}

// RemediationRule says what is done about some workloads. What it does not say is as `remediation`
// says.
type RemediationRule struct {
	// Which workloads.
	Match Where `yaml:"match"`
	// How far tocsin goes by itself.
	Mode string `yaml:"mode"`
	// What the annotation of a workload may raise the mode to.
	MaxMode string `yaml:"max_mode,omitempty"`
	// What may be done.
	Actions []string `yaml:"actions"`
	// How workloads may be written that are part of something else.
	Owners Owners `yaml:"owners"`
}

func (r *RemediationRule) inherit(_ *decoder, around any, _ *yaml.Node) {
	if all, ok := around.(*Remediation); ok {
		r.Mode, r.MaxMode, r.Actions, r.Owners = all.Mode, all.MaxMode, all.Actions, all.Owners
		return
	}
	all := defaultRemediation()
	r.Mode, r.Actions, r.Owners = all.Mode, all.Actions, all.Owners
}

// Limits bound how many workloads are taken back in an hour.
type Limits struct {
	// In each cluster.
	Cluster int `yaml:"cluster"`
	// Of each team.
	Team int `yaml:"team"`
	// In all clusters.
	Fleet int `yaml:"fleet"`
}

// Storm is when so many releases go bad that something else must be the matter.
type Storm struct {
	// More different releases than this; the same images in several clusters count once ...
	Releases int `yaml:"releases"`
	// ... or a larger share of all services, at least 3 ...
	Share float64 `yaml:"share"`
	// ... within this time ...
	Window Duration `yaml:"window"`
	// ... stop all actions for so long, and people are paged.
	Freeze Duration `yaml:"freeze"`
}

// Window is a time in which nothing is done.
type Window struct {
	// Names of `time_intervals`. Any of them counts.
	Intervals []string `yaml:"intervals"`
	// Which workloads; all.
	Match Where `yaml:"match,omitempty"`
	// What people are told.
	Why string `yaml:"why,omitempty"`
}

// KillSwitch is a ConfigMap. While its key `paused` says anything but `false`, nothing is done in its
// cluster; `why` says why. Where it cannot be read, nothing is done either.
type KillSwitch struct {
	// Where it is.
	Namespace string `yaml:"namespace,omitempty"`
	// Its name.
	Name string `yaml:"name,omitempty"`
}

// Revert is the user's own automation. It gets the action as JSON by POST, with its ID as
// `Idempotency-Key`; an answer of 2xx means that it will take the release back.
type Revert struct {
	// Address. It is masked when the configuration is printed, because it is often a secret.
	URL commonconfig.Secret `yaml:"url,omitempty"`
	// File that holds the address; read anew each time.
	URLFile string `yaml:"url_file,omitempty"`
	// Key of the HMAC-SHA256 signature, as that of `webhook_configs`.
	Secret commonconfig.Secret `yaml:"secret,omitempty"`
	// File that holds the key; read anew each time.
	SecretFile string `yaml:"secret_file,omitempty"`

	HTTP commonconfig.HTTPClientConfig `yaml:",inline"`
}

func (r *Revert) inherit(*decoder, any, *yaml.Node) {
	r.HTTP = commonconfig.DefaultHTTPClientConfig
}

func defaultRemediation() Remediation {
	return Remediation{
		Mode:           modes[0],
		Actions:        []string{"pause", "rollback"},
		Owners:         Owners{Helm: byAsking, ArgoCD: byAsking, Flux: byAsking, Hold: duration(time.Hour)},
		ApprovalExpiry: duration(30 * time.Minute),
		Confirm:        duration(15 * time.Second),
		EvidenceAge:    duration(2 * time.Minute),
		Soak:           duration(10 * time.Minute),
		CoolDown:       duration(6 * time.Hour),
		Relapse:        duration(10 * time.Minute),
		Limits:         Limits{Cluster: 5, Team: 5, Fleet: 20},
		Storm: Storm{
			Releases: 10, Share: 0.05, Window: duration(10 * time.Minute), Freeze: duration(time.Hour),
		},
		Breaker: 3,
	}
}

// Calls returns what a service calls, as namespace/name or name.
func (r *Remediation) Calls(namespace, name string) []string {
	if called, ok := r.Dependencies[namespace+"/"+name]; ok {
		return called
	}
	return r.Dependencies[name]
}

// Identity is who tocsin is to an API server.
type Identity struct {
	// File with address and credentials; that of the cluster if empty.
	Kubeconfig string `yaml:"kubeconfig,omitempty"`
	// Context in that file.
	Context string `yaml:"context,omitempty"`
}

// Writer returns the file and context of who may write: that of act_as, else who watches.
func (k *Kubernetes) Writer() (kubeconfig, context string) {
	if k.ActAs == nil {
		return k.Kubeconfig, k.Context
	}
	if k.ActAs.Kubeconfig == "" {
		return k.Kubeconfig, k.ActAs.Context
	}
	return k.ActAs.Kubeconfig, k.ActAs.Context
}
