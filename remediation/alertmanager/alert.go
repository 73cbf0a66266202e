package alertmanager

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"tocsin/incident"
	"tocsin/remediation"
)

// alert is a postable alert of the API v2.
type alert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// identity returns the labels of the alert as they were when it was first sent. If there is no
// reading them, they are made anew: at worst the old alert ends by itself.
func (n *Notifier) identity(
	note *remediation.Notification,
) (labels map[string]string, handle string, err error) {
	if err := json.Unmarshal([]byte(note.Handle), &labels); err == nil && len(labels) > 0 {
		return labels, note.Handle, nil
	}
	i := &note.Incident
	labels = make(map[string]string)
	maps.Copy(labels, n.opts.Labels)
	maps.Copy(labels, map[string]string{
		"alertname": AlertName,
		"cluster":   i.Service.Cluster,
		"namespace": i.Service.Namespace,
		"service":   i.Service.Name,
		"severity":  string(i.Severity),
	})
	if r := i.Release; r != nil {
		labels["release"], labels["revision"] = r.ID, r.Name
	}
	maps.DeleteFunc(labels, func(_, value string) bool { return value == "" })
	text, err := json.Marshal(labels)
	if err != nil {
		return nil, "", fmt.Errorf("encode labels: %w", err)
	}
	return labels, string(text), nil
}

// annotations say what is known. Empty ones are left out, as Alertmanager would.
func annotations(note *remediation.Notification) map[string]string {
	i := &note.Incident
	var causes []string
	for _, c := range i.Causes[:min(len(i.Causes), maxCauses)] {
		causes = append(causes, fmt.Sprintf("%s of %s: %s (%s)",
			c.Change.Kind, c.Change.Service, c.Change.Summary, c.Why))
	}
	out := map[string]string{
		"summary":          i.Title,
		"description":      description(i),
		"causes":           strings.Join(causes, "\n"),
		"incident_id":      i.ID,
		"fingerprint":      i.Fingerprint,
		"state":            string(i.State),
		"current_severity": string(i.Severity),
		"acknowledged_by":  i.AcknowledgedBy,
		"link":             note.Link,
	}
	if r := i.Release; r != nil {
		out["release"], out["revision"] = r.ID, r.Name
		out["evidence"] = strings.Join(r.Lines(), "\n")
		out["clusters"] = strings.Join(r.Clusters, ", ")
		out["action"] = actions(i)
	}
	for name, text := range out {
		if text == "" {
			delete(out, name)
		} else if len(text) > maxText {
			out[name] = strings.ToValidUTF8(text[:maxText], "") + " ..."
		}
	}
	return out
}

// actions has a line for each thing that tocsin does about it, the newest first.
func actions(i *incident.Incident) string {
	var lines []string
	for _, a := range slices.Backward(i.Acts) {
		lines = append(lines, a.Text)
	}
	return strings.Join(lines, "\n")
}

// description has a line for each signal, and one that compares clusters.
func description(i *incident.Incident) string {
	var lines []string
	for _, e := range i.Effects {
		if e.Harmful {
			name := e.Service.Name
			if e.Service.Cluster != i.Service.Cluster {
				name = e.Service.Cluster + "/" + name
			}
			lines = append(lines, fmt.Sprintf("%s: %s %s, usually %s, %s",
				name, e.Signal, e.Observed, e.Expected, e.Difference))
		}
	}
	if peers := i.Peers.String(); peers != "" {
		lines = append(lines, "Peers: "+peers)
	}
	if i.State == incident.Resolved {
		lines = append(lines, "Resolved: "+i.Reason)
	}
	return strings.Join(lines, "\n")
}
