package config

import (
	"errors"
	"time"

	matcherparse "github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	commonconfig "github.com/prometheus/common/config"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v3"
)

// Route says which receiver hears of an incident. The first of `routes` that matches takes it, and
// those after it too while they say `continue`; if none matches, the route itself has it. Matchers
// see the labels cluster, namespace, service and severity, and those of the cluster.
type Route struct {
	// Name of the receiver. A child that gives none has that of the route around it.
	Receiver string `yaml:"receiver"`
	// What an incident must match, in the syntax of Alertmanager: `severity="critical"`. The first
	// route takes all and has none.
	Matchers Matchers `yaml:"matchers,omitempty"`
	// How long to wait for what belongs to an incident before it is first told of. Inherited.
	GroupWait Duration `yaml:"group_wait"`
	// How long until people are reminded of an open incident. Inherited.
	RepeatInterval Duration `yaml:"repeat_interval"`
	// Names of time intervals in which nobody is told.
	MuteTimeIntervals []string `yaml:"mute_time_intervals,omitempty"`
	// Names of time intervals outside of which nobody is told.
	ActiveTimeIntervals []string `yaml:"active_time_intervals,omitempty"`
	// Whether later routes beside this one are tried too.
	Continue bool `yaml:"continue,omitempty"`
	// Routes for some of the incidents.
	Routes []Route `yaml:"routes,omitempty"`
}

func (r *Route) inherit(_ *decoder, around any, _ *yaml.Node) {
	if parent, ok := around.(*Route); ok {
		r.Receiver = parent.Receiver
		r.GroupWait, r.RepeatInterval = parent.GroupWait, parent.RepeatInterval
		return
	}
	r.GroupWait, r.RepeatInterval = duration(30*time.Second), duration(4*time.Hour)
}

// Receiver is a named set of places that notifications go to.
type Receiver struct {
	// Name that routes refer to.
	Name string `yaml:"name"`
	// Slack channels.
	SlackConfigs []Slack `yaml:"slack_configs,omitempty"`
	// Alertmanagers.
	AlertmanagerConfigs []Alertmanager `yaml:"alertmanager_configs,omitempty"`
	// Anything that accepts JSON by POST.
	WebhookConfigs []Webhook `yaml:"webhook_configs,omitempty"`
}

// Slack is a channel that has one message for each incident.
type Slack struct {
	// Bot token (xoxb-...) with the scope chat:write.
	Token commonconfig.Secret `yaml:"token,omitempty"`
	// File that holds the token; read anew for each message.
	TokenFile string `yaml:"token_file,omitempty"`
	// Channel: its ID, or its name with #.
	Channel string `yaml:"channel"`
	// Address of the Slack API.
	APIURL URL `yaml:"api_url"`
	// Whether the end of an incident is told.
	SendResolved bool `yaml:"send_resolved"`

	HTTP commonconfig.HTTPClientConfig `yaml:",inline"`
}

func (s *Slack) inherit(*decoder, any, *yaml.Node) {
	s.APIURL, s.SendResolved = "https://slack.com/api/", true
	s.HTTP = commonconfig.DefaultHTTPClientConfig
}

// Alertmanager is an Alertmanager, or all of a cluster of them.
type Alertmanager struct {
	// Addresses, without /api/v2. Every one gets every alert, as Prometheus does it.
	URLs []URL `yaml:"urls"`
	// Labels added to every alert.
	Labels map[string]string `yaml:"labels,omitempty"`
	// Whether the end of an incident is told at once. If not, its alert ends by itself.
	SendResolved bool `yaml:"send_resolved"`

	HTTP commonconfig.HTTPClientConfig `yaml:",inline"`
}

func (a *Alertmanager) inherit(*decoder, any, *yaml.Node) {
	a.SendResolved = true
	a.HTTP = commonconfig.DefaultHTTPClientConfig
}

// Webhook is anything that accepts JSON by POST.
type Webhook struct {
	// Address. It is masked when the configuration is printed, because it is often a secret.
	URL commonconfig.Secret `yaml:"url,omitempty"`
	// File that holds the address; read anew for each message.
	URLFile string `yaml:"url_file,omitempty"`
	// Key of the HMAC-SHA256 signature of each message.
	Secret commonconfig.Secret `yaml:"secret,omitempty"`
	// File that holds the key; read anew for each message.
	SecretFile string `yaml:"secret_file,omitempty"`
	// Whether the end of an incident is told.
	SendResolved bool `yaml:"send_resolved"`

	HTTP commonconfig.HTTPClientConfig `yaml:",inline"`
}

func (w *Webhook) inherit(*decoder, any, *yaml.Node) {
	w.SendResolved = true
	w.HTTP = commonconfig.DefaultHTTPClientConfig
}

// TimeInterval names times of the week or the year.
type TimeInterval struct {
	// Name that routes refer to.
	Name string `yaml:"name"`
	// The times, as Alertmanager writes them. Any of them counts.
	TimeIntervals []timeinterval.TimeInterval `yaml:"time_intervals"`
}

// Matchers are label matchers, all of which must match.
type Matchers labels.Matchers

// UnmarshalYAML reads a list of strings in the syntax of Alertmanager.
func (m *Matchers) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.SequenceNode {
		return &lineError{
			line: n.Line,
			want: "a list, as in ['severity=\"critical\"']",
			err:  errors.New("want a list of matchers, found " + kindOf(n)),
		}
	}
	*m = nil
	for _, item := range n.Content {
		var text string
		if err := item.Decode(&text); err != nil {
			return &lineError{item.Line, `a matcher such as severity="critical"`, err}
		}
		matchers, err := matcherparse.Matchers(text)
		if err != nil {
			return &lineError{item.Line, `a matcher such as severity=~"warning|critical"`, err}
		}
		*m = append(*m, matchers...)
	}
	return nil
}

// MarshalYAML returns the list that UnmarshalYAML reads.
func (m Matchers) MarshalYAML() (any, error) {
	out := make([]string, len(m))
	for i, matcher := range m {
		out[i] = matcher.String()
	}
	return out, nil
}

// Matches says whether all matchers match. A label that is not there is empty.
func (m Matchers) Matches(set model.LabelSet) bool {
	return labels.Matchers(m).Matches(set)
}
