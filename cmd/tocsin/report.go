package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"tocsin/remediation/action"
)

func newReport() *cobra.Command {
	var f clientFlags
	var from, to, output string
	var week bool
	cmd := &cobra.Command{
		Use:   "report [--week | --from TIME [--to TIME]] [--output text|json]",
		Short: "Say what was done about releases, what would have been done, and how it ended",
		Long: `Say what was done about releases, what would have been done in the mode observe, and
how these releases ended anyway: of the last 7 days, of the last whole week, or of any time. A time
is a duration back, as 30d, or written out, as 2026-03-01T12:00:00Z.`,
		Args: asked(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" || week && from+to != "" {
				return fmt.Errorf("%w: want --output text or json, and either --week or --from",
					errBadInput)
			}
			query, err := reportQuery(from, to, week, time.Now())
			if err != nil {
				return err
			}
			c, err := f.client()
			if err != nil {
				return err
			}
			var r action.Report
			if _, err = c.call(cmd.Context(), http.MethodGet, "report", query, nil, &r); err != nil {
				return err
			}
			if output == "json" {
				return writeJSON(cmd.OutOrStdout(), r)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), printable(r.String()))
			return err
		},
	}
	f.add(cmd.Flags())
	cmd.Flags().BoolVar(&week, "week", false, "Of the last whole week, from Monday on.")
	cmd.Flags().StringVar(&from, "from", "", "From then on; 7 days before --to.")
	cmd.Flags().StringVar(&to, "to", "", "Until then; now.")
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json.")
	return cmd
}

// reportQuery asks for the time that a report is about.
func reportQuery(from, to string, week bool, now time.Time) (url.Values, error) {
	query := url.Values{}
	if week {
		end := monday(now)
		query.Set("from", end.AddDate(0, 0, -7).Format(time.RFC3339))
		query.Set("to", end.Format(time.RFC3339))
		return query, nil
	}
	for name, text := range map[string]string{"from": from, "to": to} {
		if text == "" {
			continue
		}
		at, err := since(text, now)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", name, err)
		}
		query.Set(name, at.Format(time.RFC3339))
	}
	return query, nil
}

// monday returns the beginning of the week, on this machine's clock.
func monday(now time.Time) time.Time {
	y, m, d := now.Date()
	return time.Date(y, m, d-(int(now.Weekday())+6)%7, 0, 0, 0, 0, now.Location())
}
