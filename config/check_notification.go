package config

import (
	"fmt"
	"strings"

	commonconfig "github.com/prometheus/common/config"
)

// checkNotification checks the route, the receivers and the time intervals.
func (c *Config) checkNotification(d *decoder) {
	receivers := make([]string, len(c.Receivers))
	unique := d.unique("receivers")
	for i := range c.Receivers {
		path := fmt.Sprintf("receivers[%d]", i)
		receivers[i] = c.Receivers[i].Name
		d.required(path+".name", receivers[i], "a name of your choice")
		unique(path+".name", receivers[i])
		c.Receivers[i].check(d, path)
	}
	intervals := make([]string, len(c.TimeIntervals))
	unique = d.unique("time_intervals")
	for i, t := range c.TimeIntervals {
		path := fmt.Sprintf("time_intervals[%d].name", i)
		intervals[i] = t.Name
		d.required(path, t.Name, "a name of your choice")
		unique(path, t.Name)
	}
	if c.Route == nil {
		if len(c.Receivers) > 0 {
			d.failAt("receivers", "route: with the name of a receiver", "no route leads to them")
		}
		return
	}
	if len(c.Route.Matchers) > 0 {
		d.failAt("route.matchers", "them in a route below it", "the first route takes all incidents")
	}
	if len(c.Route.MuteTimeIntervals) > 0 {
		d.failAt("route.mute_time_intervals", "them in a route below it",
			"the first route cannot be muted")
	}
	if len(c.Route.ActiveTimeIntervals) > 0 {
		d.failAt("route.active_time_intervals", "them in a route below it",
			"the first route cannot be muted")
	}
	c.Route.check(d, "route", receivers, intervals)
}

func (r *Route) check(d *decoder, path string, receivers, intervals []string) {
	if d.required(path+".receiver", r.Receiver, "the name of a receiver") && len(receivers) == 0 {
		d.failAt(path+".receiver", "receivers: with one of this name",
			"receiver %q is not defined", r.Receiver)
	} else if r.Receiver != "" {
		d.choice(path+".receiver", r.Receiver, receivers)
	}
	d.positive(path+".repeat_interval", int(r.RepeatInterval))
	names := func(field string, list []string) {
		for i, name := range list {
			d.choice(fmt.Sprintf("%s.%s[%d]", path, field, i), name, intervals)
		}
	}
	names("mute_time_intervals", r.MuteTimeIntervals)
	names("active_time_intervals", r.ActiveTimeIntervals)
	for i := range r.Routes {
		r.Routes[i].check(d, fmt.Sprintf("%s.routes[%d]", path, i), receivers, intervals)
	}
}

func (r *Receiver) check(d *decoder, path string) {
	for i := range r.SlackConfigs {
		r.SlackConfigs[i].check(d, fmt.Sprintf("%s.slack_configs[%d]", path, i))
	}
	for i := range r.AlertmanagerConfigs {
		r.AlertmanagerConfigs[i].check(d, fmt.Sprintf("%s.alertmanager_configs[%d]", path, i))
	}
	for i := range r.WebhookConfigs {
		r.WebhookConfigs[i].check(d, fmt.Sprintf("%s.webhook_configs[%d]", path, i))
	}
}

func (s *Slack) check(d *decoder, path string) {
	d.oneOf(path, "token", "token_file", string(s.Token), s.TokenFile)
	d.required(path+".channel", s.Channel, "a channel such as #incidents")
	d.url(path+".api_url", string(s.APIURL))
	d.http(path, &s.HTTP)
}

func (a *Alertmanager) check(d *decoder, path string) {
	if len(a.URLs) == 0 {
		d.failAt(path+".urls", "[http://alertmanager:9093]", "is missing or empty")
	}
	for i, u := range a.URLs {
		d.url(fmt.Sprintf("%s.urls[%d]", path, i), string(u))
	}
	d.labels(path+".labels", a.Labels)
	d.http(path, &a.HTTP)
}

func (w *Webhook) check(d *decoder, path string) {
	d.oneOf(path, "url", "url_file", string(w.URL), w.URLFile)
	if w.Secret != "" && w.SecretFile != "" {
		d.failAt(path+".secret_file", "one of the two", "cannot be with secret")
	}
	if w.URL != "" {
		if err := checkURL(strings.SplitN(string(w.URL), "?", 2)[0]); err != nil {
			d.failAt(path+".url", "a URL such as https://example.com/hook", "%v", err)
		}
	}
	d.http(path, &w.HTTP)
}

// oneOf reports unless just one of a value and the file that holds it is given.
func (d *decoder) oneOf(path, name, nameFile, value, file string) {
	switch {
	case value == "" && file == "":
		d.failAt(path+"."+name, name+" or "+nameFile, "is missing or empty")
	case value != "" && file != "":
		d.failAt(path+"."+nameFile, "one of the two", "cannot be with %s", name)
	}
}

// http checks what the settings of a client say together.
func (d *decoder) http(path string, c *commonconfig.HTTPClientConfig) {
	if err := c.Validate(); err != nil {
		d.failAt(path, "", "%v", err)
		return
	}
	if err := c.TLSConfig.Validate(); err != nil {
		d.failAt(path+".tls_config", "", "%v", err)
	}
	if c.TLSConfig.MaxVersion != 0 && c.TLSConfig.MaxVersion < c.TLSConfig.MinVersion {
		d.failAt(path+".tls_config.max_version", "min_version or a later one", "is before min_version")
	}
}
