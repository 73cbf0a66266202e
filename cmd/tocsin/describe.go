package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tocsin/incident"
)

func newDescribe() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "describe",
		Short: "Say all that is known of one thing, for people",
		Long: `Say all that is known of one thing, for people. The beginning of an ID is enough if
there is only one that begins so.`,
	}
	f.add(cmd.PersistentFlags())
	cmd.AddCommand(
		newDescribeOne(&f, "release", "ID", "How a rollout went, and every number behind its verdict",
			func(ctx context.Context, c *client, id string) (describer, error) {
				return fetch[releaseSheet](ctx, c, "releases", id)
			}),
		newDescribeOne(&f, "action", "ID", "What is done about a release, and what speaks against it",
			func(ctx context.Context, c *client, id string) (describer, error) {
				return fetch[actionSheet](ctx, c, "actions", id)
			}),
		newDescribeOne(&f, "incident", "ID", "What is wrong, what may have caused it, what was done",
			func(ctx context.Context, c *client, id string) (describer, error) {
				return fetch[incidentSheet](ctx, c, "incidents", id)
			}),
		newDescribeOne(&f, "service", "NAME",
			"What a service does now; NAME is cluster/namespace/service or the end of that",
			describeService),
	)
	return cmd
}

// describer writes what people should know of one thing.
type describer interface {
	describe(s *sheet)
}

func newDescribeOne(
	f *clientFlags, kind, arg, short string,
	find func(context.Context, *client, string) (describer, error),
) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:     kind + " " + arg,
		Aliases: []string{kind + "s"},
		Short:   short,
		Args:    asked(cobra.ExactArgs(1), aName),
		RunE: func(cmd *cobra.Command, args []string) error {
			if output != "text" && output != "json" {
				return fmt.Errorf("%w: want --output text or json", errBadInput)
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			d, err := find(cmd.Context(), c, args[0])
			if err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), d)
			}
			s := newSheet(cmd.OutOrStdout())
			d.describe(s)
			return s.err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json.")
	return cmd
}

func writeJSON(out io.Writer, v any) error {
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

// fetch reads the one thing of a list whose ID is, or begins with, what is given.
func fetch[T any, P interface {
	*T
	describer
}](ctx context.Context, c *client, path, id string) (describer, error) {
	id, err := c.complete(ctx, path, id)
	if err != nil {
		return nil, err
	}
	var v T
	if _, err = c.call(ctx, http.MethodGet, path+"/"+id, nil, nil, &v); err != nil {
		return nil, err
	}
	return P(&v), nil
}

// searched is how many of the newest things are looked through for the beginning of an ID.
const searched = 1000

// complete returns the ID of a list that is what is given or, as the only one of the newest, begins
// with it.
func (c *client) complete(ctx context.Context, path, id string) (string, error) {
	one := strings.TrimSuffix(path, "s")
	var any json.RawMessage
	if _, err := c.call(ctx, http.MethodGet, path+"/"+id, nil, nil, &any); err == nil {
		return id, nil
	} else if !notFound(err) {
		return "", err
	}
	items, err := list[identified](ctx, c, path, url.Values{}, searched)
	if err != nil {
		return "", err
	}
	var found []string
	for _, x := range items {
		if whole := x.id(); begins(whole, id) {
			found = append(found, whole)
		}
	}
	switch len(found) {
	case 0:
		return "", fmt.Errorf("%w: there is no %s whose ID is or begins with %s; "+
			"tocsin get %s lists them", errBadInput, one, id, path)
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: %d %s begin with %s: write more of one of %s",
		errBadInput, len(found), path, id, strings.Join(found[:min(len(found), 5)], ", "))
}

// begins tells whether an ID begins so, with what stands before its last hyphen or without it.
func begins(id, so string) bool {
	return strings.HasPrefix(id, so) || strings.HasPrefix(id[strings.LastIndexByte(id, '-')+1:], so)
}

// identified is a thing of which only the ID matters. A release has it one level below.
type identified struct {
	ID      string          `json:"id"`
	Release json.RawMessage `json:"release"`
}

func (x *identified) id() string {
	var inner struct {
		ID string `json:"id"`
	}
	if x.ID == "" && json.Unmarshal(x.Release, &inner) == nil {
		return inner.ID
	}
	return x.ID
}

// aName refuses arguments that would be another path than that of one thing.
func aName(_ *cobra.Command, args []string) error {
	for _, name := range args {
		parts := strings.Split(name, "/")
		if strings.ContainsAny(name, "?#%") || slices.Contains(parts, "") ||
			slices.Contains(parts, ".") || slices.Contains(parts, "..") {
			return fmt.Errorf("%w: %q is neither an ID nor a name", errBadInput, name)
		}
	}
	return nil
}

// sheet is what is written about one thing. It keeps the first error.
type sheet struct {
	painter

	out   io.Writer
	began bool
	err   error
}

func newSheet(out io.Writer) *sheet { return &sheet{painter: newPainter(out), out: out} }

func (s *sheet) line(t tone, format string, args ...any) {
	if s.err == nil {
		text := printable(fmt.Sprintf(format, args...))
		_, s.err = fmt.Fprintln(s.out, s.paint(t, text))
	}
	s.began = true
}

// fact writes a line of the head, if there is something to write.
func (s *sheet) fact(name, text string) { s.toned(tonePlain, name, text) }

func (s *sheet) toned(t tone, name, text string) {
	if text != "" {
		s.line(t, "%-12s %s", name, oneLine(text, 1000))
	}
}

// section begins a part.
func (s *sheet) section(title string) {
	if s.began {
		s.line(tonePlain, "")
	}
	s.line(toneHead, "%s", title)
}

// table writes a part that is one, unless it would be empty.
func (s *sheet) table(title string, header []string, rows []row) {
	if len(rows) == 0 {
		return
	}
	s.section(title)
	if s.err == nil {
		s.err = writeTable(s.out, "  ", header, rows)
	}
}

// note writes a line of a part.
func (s *sheet) note(text string) { s.line(tonePlain, "  %s", oneLine(text, 1000)) }

// choice is something that people can do: a command and what it does, or words alone.
type choice struct{ command, what string }

// choices writes what people can do.
func (s *sheet) choices(all []choice) {
	if len(all) == 0 {
		return
	}
	s.section("What you can do")
	width := 0
	for _, c := range all {
		width = max(width, len(c.command))
	}
	for _, c := range all {
		if c.command == "" {
			s.note(c.what)
			continue
		}
		s.line(tonePlain, "  %-*s  %s", width, c.command, c.what)
	}
}

// moment is something that happened.
type moment struct {
	at   time.Time
	what string
	tone tone
}

// timeline writes what happened, in its order, with the time since the first.
func (s *sheet) timeline(start time.Time, moments []moment) {
	moments = slices.DeleteFunc(moments, func(m moment) bool { return m.at.IsZero() })
	slices.SortStableFunc(moments, func(a, b moment) int { return a.at.Compare(b.at) })
	rows := make([]row, 0, len(moments))
	for _, m := range moments {
		cells := []string{when(m.at), after(m.at.Sub(start)), m.what}
		rows = append(rows, row{cells: cells, tone: m.tone})
	}
	s.table("Timeline", []string{"TIME", "AFTER", "WHAT"}, rows)
}

// after writes a time since something began.
func after(d time.Duration) string {
	if d < 0 {
		return incident.PlainDuration(d.Round(time.Second))
	}
	return "+" + incident.PlainDuration(d.Round(time.Second))
}
