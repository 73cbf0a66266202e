// Package slack tells a Slack channel: one message for each incident, edited in place, with the
// history of the incident in its thread.
package slack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/slack-go/slack"

	"tocsin/incident"
	"tocsin/remediation"
)

// maxAnswer bounds how much is read of an answer of the API.
const maxAnswer = 1 << 20

// Options configures a Notifier. Zero values of optional fields stand for the defaults given
// here.
type Options struct {
	Token     string // Of a bot, with the scope chat:write. This or TokenFile is required.
	TokenFile string // Read anew for each message.
	Channel   string // Required: its ID, or its name.

	APIURL     string       // https://slack.com/api/
	NoResolved bool         // The end of an incident is not told.
	Client     *http.Client // Default: http.DefaultClient.
}

// Notifier posts to one channel.
type Notifier struct {
	opts   Options
	client boundedClient
}

var _ remediation.Notifier = (*Notifier)(nil)

// New returns a Notifier. It does not ask Slack for anything.
func New(o Options) (*Notifier, error) {
	if (o.Token == "") == (o.TokenFile == "") {
		return nil, errors.New("slack: want either Token or TokenFile")
	}
	if o.Channel == "" {
		return nil, errors.New("slack: Channel is required")
	}
	if o.APIURL == "" {
		o.APIURL = slack.APIURL
	}
	if !strings.HasSuffix(o.APIURL, "/") {
		o.APIURL += "/"
	}
	if o.Client == nil {
		o.Client = http.DefaultClient
	}
	return &Notifier{opts: o, client: boundedClient{o.Client}}, nil
}

// Integration returns the name under which it is counted.
func (n *Notifier) Integration() string { return "slack" }

// SendsResolved says whether the end of an incident is told.
func (n *Notifier) SendsResolved() bool { return !n.opts.NoResolved }

// handle says where the message of an incident is, and what its thread knows.
type handle struct {
	Channel string `json:"channel"`
	TS      string `json:"ts"`
	Told    *told  `json:"told,omitempty"` // Nil: nothing.
}

func (h *handle) String() string {
	text, err := json.Marshal(h)
	if err != nil {
		panic("slack: a handle has no JSON: " + err.Error()) // Strings always have.
	}
	return string(text)
}

// Notify posts the message of an incident or edits it, and adds to its thread what has happened.
func (n *Notifier) Notify(ctx context.Context, note remediation.Notification) (string, error) {
	api, err := n.api()
	if err != nil {
		return "", err
	}
	var h handle
	if err := json.Unmarshal([]byte(note.Handle), &h); err != nil || h.TS == "" {
		h = handle{} // There is none, or it cannot be read: the message is posted anew.
	}
	if h.TS == "" || !note.Repeat {
		if err := n.show(ctx, api, &h, message(&note)); err != nil {
			return "", fmt.Errorf("post to channel %s: %w", n.opts.Channel, judge(err))
		}
	}
	if text := history(h.Told, &note); text != "" {
		options := []slack.MsgOption{slack.MsgOptionText(text, false), slack.MsgOptionTS(h.TS)}
		if note.Repeat || urgent(h.Told, &note.Incident) { // A thread alone reminds nobody.
			options = append(options, slack.MsgOptionBroadcast())
		}
		if _, _, err := api.PostMessageContext(ctx, h.Channel, options...); err != nil {
			err = fmt.Errorf("post to thread in channel %s: %w", n.opts.Channel, judge(err))
			return h.String(), err
		}
	}
	h.Told = toldOf(&note.Incident)
	return h.String(), nil
}

// show edits the message that h names, or posts one if there is none any more, and notes where it
// is. A message whose layout Slack refuses is sent as plain text: a plain alert is better than
// none.
func (n *Notifier) show(
	ctx context.Context, api *slack.Client, h *handle, options []slack.MsgOption,
) error {
	err := n.put(ctx, api, h, options)
	if is(err, "message_not_found", "cant_update_message", "edit_window_closed") {
		*h = handle{}
		err = n.put(ctx, api, h, options)
	}
	if is(err, "invalid_blocks", "invalid_blocks_format", "invalid_attachments", "msg_too_long",
		"msg_blocks_too_long", "too_many_attachments") {
		err = n.put(ctx, api, h, options[:1])
	}
	return err
}

func (n *Notifier) put(
	ctx context.Context, api *slack.Client, h *handle, options []slack.MsgOption,
) error {
	if h.TS != "" {
		_, _, _, err := api.UpdateMessageContext(ctx, h.Channel, h.TS, options...)
		return err
	}
	channel, ts, err := api.PostMessageContext(ctx, n.opts.Channel, options...)
	if err == nil && ts == "" {
		err = errors.New("answer without a timestamp")
	}
	if err == nil {
		h.Channel, h.TS = channel, ts
	}
	return err
}

// api returns a client with the token as it is now.
func (n *Notifier) api() (*slack.Client, error) {
	token := n.opts.Token
	if n.opts.TokenFile != "" {
		text, err := os.ReadFile(n.opts.TokenFile)
		if err != nil {
			return nil, fmt.Errorf("read token: %w", err)
		}
		token = strings.TrimSpace(string(text))
	}
	return slack.New(token,
		slack.OptionAPIURL(n.opts.APIURL), slack.OptionHTTPClient(n.client)), nil
}

// permanent are the answers that do not change by trying again.
var permanent = []string{
	"account_inactive", "cannot_reply_to_message", "channel_not_found", "ekm_access_denied",
	"enterprise_is_restricted", "invalid_arg_name", "invalid_arguments", "invalid_auth",
	"invalid_blocks", "invalid_blocks_format", "invalid_attachments", "is_archived",
	"missing_scope",
	"msg_blocks_too_long", "msg_too_long", "no_permission", "no_text", "not_allowed_token_type",
	"not_authed", "not_in_channel", "org_login_required", "restricted_action",
	"restricted_action_non_threadable_channel", "restricted_action_read_only_channel",
	"restricted_action_thread_locked", "restricted_action_thread_only_channel",
	"team_access_not_granted", "token_expired", "token_revoked", "too_many_attachments",
}

// judge says whether and when to try again.
func judge(err error) error {
	var limited *slack.RateLimitedError
	var status slack.StatusCodeError
	switch {
	case errors.As(err, &limited):
		return &remediation.Error{RetryAfter: limited.RetryAfter, Err: err}
	case errors.As(err, &status):
		refused := status.Code/100 == 4 && status.Code != http.StatusTooManyRequests &&
			status.Code != http.StatusRequestTimeout
		return &remediation.Error{Permanent: refused, Err: err}
	case is(err, permanent...):
		return &remediation.Error{Permanent: true, Err: err}
	}
	return &remediation.Error{Err: err}
}

// is says whether Slack has answered with one of codes.
func is(err error, codes ...string) bool {
	var e slack.SlackErrorResponse
	return errors.As(err, &e) && slices.Contains(codes, e.Err)
}

// boundedClient reads no more of an answer than any honest one has.
type boundedClient struct{ client *http.Client }

// Do sends a request.
func (c boundedClient) Do(req *http.Request) (*http.Response, error) {
	resp, err := c.client.Do(req)
	if err == nil {
		resp.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	}
	return resp, err
}

// told is what the thread of an incident knows.
type told struct {
	State    incident.State    `json:"state"`
	Severity incident.Severity `json:"severity"`
	Services []uint32          `json:"services"`       // Hashes of the first maxRemembered.
	Acts     []uint32          `json:"acts,omitempty"` // Hashes, of what they had come to.
}

// maxRemembered bounds the services of told.
const maxRemembered = 200

func toldOf(i *incident.Incident) *told {
	t := &told{State: i.State, Severity: i.Severity}
	for _, s := range i.Services[:min(len(i.Services), maxRemembered)] {
		t.Services = append(t.Services, hashOf(s.String()))
	}
	for _, a := range i.Acts {
		t.Acts = append(t.Acts, hashAct(&a))
	}
	return t
}

// hashOf stands for a service or an act in a handle, which is to stay small.
func hashOf(text string) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(text)) // It never fails.
	return h.Sum32()
}
