package slack

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/slack-go/slack"

	"tocsin/fleet"
	"tocsin/incident"
	"tocsin/remediation"
)

// What Slack allows, with some room, and what people read.
const (
	maxSection  = 2900 // Characters of a section; Slack allows 3000.
	maxTitle    = 1000
	maxReply    = 2900
	maxServices = 10
	maxCauses   = 3
	maxCell     = 40
	maxPeers    = 600
	maxLine     = 400 // Of what is said of a release.
	maxLines    = 6
	maxAct      = 400
	maxActs     = 5
)

// message returns the message of an incident. The first option is its text, which stands alone if
// need be.
func message(note *remediation.Notification) []slack.MsgOption {
	i := &note.Incident
	title := fmt.Sprintf("*%s* %s", label(i), escape(i.Title, maxTitle))
	var blocks []slack.Block
	for _, text := range []string{services(i), release(i), acts(i), table(i), causes(i)} {
		if text != "" {
			blocks = append(blocks, slack.NewSectionBlock(markdown(text), nil, nil))
		}
	}
	blocks = append(blocks, slack.NewContextBlock("", markdown(footer(note))))
	return []slack.MsgOption{
		slack.MsgOptionText(title, false),
		slack.MsgOptionAttachments(slack.Attachment{
			Color:  color(i),
			Blocks: slack.Blocks{BlockSet: blocks},
		}),
	}
}

func markdown(text string) *slack.TextBlockObject {
	return slack.NewTextBlockObject(slack.MarkdownType, text, false, false)
}

// label says in a word how an incident stands.
func label(i *incident.Incident) string {
	switch i.State {
	case incident.Resolved:
		return "Resolved"
	case incident.Acknowledged:
		return word(i.Severity) + ", acknowledged"
	}
	return word(i.Severity)
}

func word(s incident.Severity) string {
	switch s {
	case incident.Critical:
		return "Critical"
	case incident.Warning:
		return "Warning"
	}
	return "Info"
}

func color(i *incident.Incident) string {
	switch {
	case i.State == incident.Resolved:
		return "#2eb67d"
	case i.Severity == incident.Critical:
		return "#d01f3c"
	case i.Severity == incident.Warning:
		return "#e8a33d"
	}
	return "#4a90d9"
}

func services(i *incident.Incident) string {
	if len(i.Services) == 0 {
		return "" // An alarm that is about all of them.
	}
	text := "*Services* " + names(i, i.Services)
	if peers := i.Peers.String(); peers != "" {
		text += "\n*Peers* " + escape(peers, maxPeers)
	}
	return text
}

// names lists services by namespace and name, and those of other clusters by cluster too.
func names(i *incident.Incident, all []fleet.Service) string {
	var out []string
	for _, s := range all[:min(len(all), maxServices)] {
		name := s.Name
		if s.Namespace != "" {
			name = s.Namespace + "/" + s.Name
		}
		if s.Cluster != i.Service.Cluster {
			name = s.Cluster + "/" + name
		}
		out = append(out, escape(name, maxCell*2))
	}
	text := strings.Join(out, ", ")
	if more := len(all) - len(out); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// table shows the harmful signals in columns, as many as fit.
func table(i *incident.Incident) string {
	rows := [][]string{{"signal", "observed", "usually", "difference"}}
	for _, e := range i.Effects {
		if !e.Harmful {
			continue
		}
		name := e.Signal
		if len(i.Services) > 1 {
			name = e.Service.Name + " " + e.Signal
		}
		if e.Service.Cluster != i.Service.Cluster {
			name = e.Service.Cluster + "/" + name
		}
		if !e.Open {
			name += " (over)"
		}
		rows = append(rows, []string{name, e.Observed, e.Expected, e.Difference})
	}
	if len(rows) == 1 {
		return ""
	}
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for n := range row {
			row[n] = cell(row[n])
			widths[n] = max(widths[n], utf8.RuneCountInString(row[n]))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		line := ""
		for k, text := range row {
			line += text + strings.Repeat(" ", widths[k]-utf8.RuneCountInString(text)+2)
		}
		line = escape(strings.TrimRight(line, " "), maxSection)
		if b.Len()+len(line) > maxSection-60 {
			fmt.Fprintf(&b, "and %d more\n", len(rows)-n+i.Omitted)
			break
		}
		b.WriteString(line + "\n")
	}
	return "```\n" + b.String() + "```"
}

// cell makes text fit into a column of a code block.
func cell(text string) string {
	text = strings.NewReplacer("`", "'", "\n", " ").Replace(text)
	if runes := []rune(text); len(runes) > maxCell {
		return string(runes[:maxCell-1]) + "…"
	}
	return text
}

func causes(i *incident.Incident) string {
	title, rest := "*What changed before*\n", i.Causes
	if i.Release != nil && len(rest) > 0 && rest[0].Change.ID == i.Release.Change {
		title, rest = "*What else changed before*\n", rest[1:] // The release is shown already.
	}
	var lines []string
	for _, c := range rest[:min(len(rest), maxCauses)] {
		line := fmt.Sprintf("%s of %s: %s", c.Change.Kind, c.Change.Service.Name, c.Change.Summary)
		if c.Change.Author != "" {
			line += " by " + c.Change.Author
		}
		lines = append(lines, "• "+escape(line, 600)+" _("+escape(c.Why, 200)+")_")
	}
	if lines == nil {
		return ""
	}
	return title + strings.Join(lines, "\n")
}

// footer says when it began and ended, who cares for it, and where to see more.
func footer(note *remediation.Notification) string {
	i := &note.Incident
	parts := []string{"began " + date(i.Start)}
	if i.AcknowledgedBy != "" {
		parts = append(parts, "acknowledged by "+escape(i.AcknowledgedBy, 100))
	}
	if i.State == incident.Resolved {
		parts = append(parts, "over "+date(i.End)+": "+escape(i.Reason, 300))
	}
	if note.Link != "" {
		safe := strings.NewReplacer("&", "&amp;", "<", "%3C", ">", "%3E", "|", "%7C")
		parts = append(parts, "<"+safe.Replace(note.Link)+"|details>")
	}
	return strings.Join(append(parts, "incident "+i.ID), "  ·  ")
}

// date has Slack show a time in the zone of who reads it.
func date(t time.Time) string {
	return fmt.Sprintf("<!date^%d^{date_short_pretty} {time_secs}|%s>",
		t.Unix(), t.UTC().Format("2006-01-02 15:04:05 UTC"))
}

// history says what has happened since the thread was last told; empty: nothing that it should
// hold.
func history(t *told, note *remediation.Notification) string {
	i := &note.Incident
	var lines []string
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	title := escape(i.Title, maxTitle)
	if t == nil {
		add("Opened as %s: %s", i.Severity, title)
		t = toldOf(i)
		t.State, t.Acts = incident.Open, nil
	}
	if t.Severity != i.Severity {
		add("Worsened from %s to %s: %s", t.Severity, i.Severity, title)
	}
	if joined := newServices(t, i); len(joined) > 0 {
		add("Joined by %s", names(i, joined))
	}
	for _, a := range newActs(t, i) {
		add("%s", escape(a.Text, maxAct))
	}
	switch {
	case t.State != incident.Acknowledged && i.State == incident.Acknowledged:
		add("Acknowledged by %s", escape(i.AcknowledgedBy, 100))
	case t.State != incident.Resolved && i.State == incident.Resolved:
		lasted := incident.PlainDuration(i.End.Sub(i.Start))
		add("Resolved after %s: %s", lasted, escape(i.Reason, 300))
	case note.Repeat:
		add("Still open after %s: %s", incident.PlainDuration(time.Since(i.Start)), title)
	}
	return cut(strings.Join(lines, "\n"), maxReply)
}

// newServices returns those that the thread has not been told of.
func newServices(t *told, i *incident.Incident) []fleet.Service {
	if len(t.Services) >= maxRemembered {
		return nil
	}
	var out []fleet.Service
	for _, s := range i.Services {
		if !slices.Contains(t.Services, hashOf(s.String())) {
			out = append(out, s)
		}
	}
	return out
}

// escape takes their meaning from the characters that are markup to Slack, and cuts what is too
// long.
func escape(text string, limit int) string {
	text = strings.ToValidUTF8(text, "")
	return cut(strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text), limit)
}

// cut shortens escaped text to a number of bytes, but not in the middle of a character or an
// entity.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = strings.ToValidUTF8(text[:limit-len("…")], "")
	if amp := strings.LastIndexByte(text, '&'); amp >= 0 && !strings.Contains(text[amp:], ";") {
		text = text[:amp]
	}
	return text + "…"
}
