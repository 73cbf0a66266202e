package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"
)

// listing is a kind of thing that the daemon lists.
type listing struct {
	name    string   // Of the list, in the API and on the command line.
	one     string   // Of one of them.
	short   string   // What they are.
	filters []string // Parameters of the list that may be asked for.
	columns []string
	wide    []string // The columns that only the wide form has.
	row     func(json.RawMessage) (row, error)
}

// asRow makes a listing's row of what the API has for one thing.
func asRow[T any](of func(*T) row) func(json.RawMessage) (row, error) {
	return func(text json.RawMessage) (row, error) {
		var v T
		if err := json.Unmarshal(text, &v); err != nil {
			return row{}, err
		}
		return of(&v), nil
	}
}

// filterHelp says what each filter is.
var filterHelp = map[string]string{
	"cluster":   "Only of this cluster.",
	"namespace": "Only of this namespace.",
	"service":   "Only of this service, by its name alone.",
	"signal":    "Only of this signal.",
	"state":     "Only in this state.",
	"severity":  "Only of this severity.",
	"kind":      "Only of this kind: pause, rollback, abort or webhook.",
	"result":    "Only with this verdict: inconclusive, healthy or regressed.",
	"since":     "Only what was reported since: 2h, 7d, or 2026-03-01T12:00:00Z.",
}

func newGet() *cobra.Command {
	var f clientFlags
	cmd := &cobra.Command{
		Use:   "get",
		Short: "List what the daemon knows, the newest first",
		Long: `List what the daemon knows, the newest first. Filters must all agree. --output wide
has more columns, --output json what the API answers; --watch goes on and shows what is new or has
changed.`,
	}
	f.add(cmd.PersistentFlags())
	for _, l := range listings() {
		cmd.AddCommand(newGetOne(&f, l))
	}
	return cmd
}

// getFlags say how a list is shown.
type getFlags struct {
	output string
	limit  int
	watch  bool
	every  time.Duration
}

func newGetOne(f *clientFlags, l *listing) *cobra.Command {
	var g getFlags
	cmd := &cobra.Command{
		Use:     l.name,
		Aliases: []string{l.one},
		Short:   l.short,
		Args:    asked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			query, err := l.query(cmd, time.Now())
			if err != nil {
				return err
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			return l.get(cmd, c, query, g)
		},
	}
	for _, name := range l.filters {
		short := ""
		if name == "namespace" {
			short = "n"
		}
		cmd.Flags().StringP(name, short, "", filterHelp[name])
	}
	flags := cmd.Flags()
	flags.StringVarP(&g.output, "output", "o", "table", "table, wide or json.")
	flags.IntVar(&g.limit, "limit", 100, "At most so many.")
	flags.BoolVarP(&g.watch, "watch", "w", false, "Go on, and show what is new or has changed.")
	flags.DurationVar(&g.every, "every", 2*time.Second, "How often --watch looks.")
	return cmd
}

// get shows a list.
func (l *listing) get(cmd *cobra.Command, c *client, query url.Values, g getFlags) error {
	if !slices.Contains(forms, g.output) || g.limit < 1 || g.every <= 0 {
		return fmt.Errorf("%w: want --output %s, --limit above 0 and --every above 0s",
			errBadInput, strings.Join(forms, ", "))
	}
	ask := func() ([]json.RawMessage, error) {
		return list[json.RawMessage](cmd.Context(), c, l.name, query, g.limit)
	}
	if g.watch {
		return l.watch(cmd, g.every, g.output, ask)
	}
	items, err := ask()
	if err != nil {
		return err
	}
	if len(items) == 0 && g.output != "json" {
		_, err = fmt.Fprintf(cmd.ErrOrStderr(), "There are no such %s.\n", l.name)
		return err
	}
	return l.show(cmd.OutOrStdout(), items, g.output)
}

// query reads the filters.
func (l *listing) query(cmd *cobra.Command, now time.Time) (url.Values, error) {
	query := url.Values{}
	for _, name := range l.filters {
		if !cmd.Flags().Changed(name) {
			continue
		}
		value := cmd.Flag(name).Value.String()
		if name == "since" {
			at, err := since(value, now)
			if err != nil {
				return nil, err
			}
			value = at.Format(time.RFC3339Nano)
		}
		query.Set(name, value)
	}
	return query, nil
}

// since reads a time that lies a duration back, or is written out.
func since(text string, now time.Time) (time.Time, error) {
	if d, err := model.ParseDuration(text); err == nil {
		return now.Add(-time.Duration(d)), nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, fmt.Errorf("%w: %q: want a duration as 2h or 7d, or a time as %s",
			errBadInput, text, "2026-03-01T12:00:00Z")
	}
	return at, nil
}

// maxPage is how many items the daemon gives at a time.
const maxPage = 1000

// list reads a list page by page.
func list[T any](
	ctx context.Context, c *client, path string, query url.Values, limit int,
) ([]T, error) {
	asked := url.Values{}
	for name, values := range query {
		asked[name] = values
	}
	items := []T{}
	for len(items) < limit {
		asked.Set("limit", strconv.Itoa(min(limit-len(items), maxPage)))
		var page []T
		next, err := c.call(ctx, http.MethodGet, path, asked, nil, &page)
		if err != nil {
			return nil, err
		}
		items = append(items, page...)
		if next == "" {
			break
		}
		asked.Set("cursor", next)
	}
	return items, nil
}
