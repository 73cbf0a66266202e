package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/alertmanager/timeinterval"
	commonconfig "github.com/prometheus/common/config"

	"tocsin/config"
	"tocsin/incident"
	"tocsin/remediation"
	"tocsin/remediation/alertmanager"
	"tocsin/remediation/slack"
	"tocsin/remediation/webhook"
	"tocsin/store/journal"
)

// policy builds who is told of what.
func (a *App) policy(c *config.Config) (remediation.Policy, error) {
	p := remediation.Policy{
		Receivers:   make(map[string][]remediation.Notifier),
		Intervals:   make(map[string][]timeinterval.TimeInterval),
		MinSeverity: incident.Severity(c.Incidents.MinSeverity),
	}
	for i := range c.Receivers {
		notifiers, err := notifiers(&c.Receivers[i])
		if err != nil {
			return p, fmt.Errorf("build receiver %s: %w", c.Receivers[i].Name, err)
		}
		p.Receivers[c.Receivers[i].Name] = notifiers
	}
	for _, t := range c.TimeIntervals {
		p.Intervals[t.Name] = t.TimeIntervals
	}
	if c.Route != nil {
		p.Route = route(c.Route)
	}
	return p, nil
}

func route(r *config.Route) *remediation.Route {
	out := &remediation.Route{
		Receiver:       r.Receiver,
		Matchers:       labels.Matchers(r.Matchers),
		Continue:       r.Continue,
		GroupWait:      time.Duration(r.GroupWait),
		RepeatInterval: time.Duration(r.RepeatInterval),
		Mute:           r.MuteTimeIntervals,
		Active:         r.ActiveTimeIntervals,
	}
	for i := range r.Routes {
		out.Routes = append(out.Routes, route(&r.Routes[i]))
	}
	return out
}

// notifiers builds the places that a receiver's notifications go to.
func notifiers(r *config.Receiver) ([]remediation.Notifier, error) {
	var out []remediation.Notifier
	var errs []error
	add := func(
		kind string, i int, build func(*http.Client) (remediation.Notifier, error),
		c commonconfig.HTTPClientConfig, options ...commonconfig.HTTPClientOption,
	) {
		client, err := commonconfig.NewClientFromConfig(c, "tocsin_"+kind, options...)
		if err == nil {
			var n remediation.Notifier
			if n, err = build(client); err == nil {
				out = append(out, n)
				return
			}
		}
		errs = append(errs, fmt.Errorf("%s_configs[%d]: %w", kind, i, err))
	}
	for i, c := range r.SlackConfigs {
		add("slack", i, func(client *http.Client) (remediation.Notifier, error) {
			return slack.New(slack.Options{
				Token: string(c.Token), TokenFile: c.TokenFile, Channel: c.Channel, APIURL: string(c.APIURL),
				NoResolved: !c.SendResolved, Client: client,
			})
		}, c.HTTP)
	}
	for i, c := range r.AlertmanagerConfigs {
		add("alertmanager", i, func(client *http.Client) (remediation.Notifier, error) {
			urls := make([]string, len(c.URLs))
			for k, u := range c.URLs {
				urls[k] = string(u)
			}
			return alertmanager.New(alertmanager.Options{
				URLs: urls, Labels: c.Labels, NoResolved: !c.SendResolved, Client: client,
			})
		}, c.HTTP)
	}
	for i, c := range r.WebhookConfigs {
		add("webhook", i, func(client *http.Client) (remediation.Notifier, error) {
			return webhook.New(webhook.Options{
				URL: string(c.URL), URLFile: c.URLFile, Secret: string(c.Secret), SecretFile: c.SecretFile,
				NoResolved: !c.SendResolved, Client: client,
			})
		}, c.HTTP, commonconfig.WithDialContextFunc(webhook.DialContext))
	}
	return out, errors.Join(errs...)
}

// clusterLabels returns the labels of a cluster that routes can match.
func (a *App) clusterLabels(name string) map[string]string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.labels[name]
}

// labelsOf collects the labels of clusters, by name.
func labelsOf(clusters []config.Cluster) map[string]map[string]string {
	out := make(map[string]map[string]string, len(clusters))
	for _, c := range clusters {
		out[c.Name] = c.Labels
	}
	return out
}

// link returns where people see an incident.
func (a *App) link(i incident.Incident) string {
	return strings.TrimSuffix(a.opts.Settings.ExternalURL, "/") + "/api/tocsin/v1/incidents/" + i.ID
}

// recordNotification writes down what became of a notification.
func (a *App) recordNotification(r remediation.Record) {
	a.journal.Record(journal.Entry{Kind: kindNotification, Key: r.Key, At: r.At, Data: r})
}

// ledger keeps in the journal what receivers know.
type ledger struct {
	journal *journal.Journal
	archive *archive
}

// Load implements remediation.Ledger. Who cannot be shown to have been told is told again.
func (l ledger) Load(ctx context.Context) (map[string]remediation.Sent, error) {
	return latest[remediation.Sent](ctx, l.archive, kindSent, doubt)
}

// Save implements remediation.Ledger.
func (l ledger) Save(ctx context.Context, s remediation.Sent) error {
	return l.journal.Append(ctx, journal.Entry{Kind: kindSent, Key: s.Key, At: s.At, Data: s})
}
