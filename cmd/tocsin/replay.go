package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/app"
	"tocsin/collectors/replay"
)

func newReplay() *cobra.Command {
	opts := app.ReplayOptions{Budget: app.DefaultBudget()}
	cmd := &cobra.Command{
		Use:   "replay --output DIR [--interval D] [--findings FILE] INPUT...",
		Short: "Run recordings through the detector and write down what it said of each row",
		Long: `Run recordings through the detector and write down what it said of each row.

INPUT is a CSV file, a CSV.gz file, or a folder of them. Each has a header; time is the column timestamp (RFC 3339,
YYYY-MM-DD hh:mm:ss in UTC, or unix seconds) or step (a row number; needs --interval). The columns label and split
are copied and never read. Every other column is a signal of one service; an empty cell is no sample.

DIR gets a file of the same relative name, without .gz, with the time as it was written, label and split if they are
there, anomaly_score (of the service; 0 where there is nothing to judge), and, for a recording of one signal, expected,
lower and upper, for one of several a score_<column> each.

With --findings, FILE gets a JSON line for each finding: file, signal, start, end (missing while it is open), peak, and
threshold, the score that opened it; standard error gets the pages a week that each file cost, to compare with --budget.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Inputs = args
			if opts.Output == "" || opts.Interval < 0 {
				return fmt.Errorf("%w: say with --output where the results belong, and no negative --interval", errBadInput)
			}
			if !(opts.Budget.PagesPerWeek > 0) {
				return fmt.Errorf("%w: --budget must be more than 0 pages a week", errBadInput)
			}
			if opts.Findings != "" {
				opts.Pages = cmd.ErrOrStderr()
			}
			err := app.Replay(cmd.Context(), opts)
			var bad *replay.RowError
			if errors.As(err, &bad) {
				return fmt.Errorf("%w: %w", errBadInput, err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&opts.Output, "output", "", "Folder for the results.")
	cmd.Flags().DurationVar(&opts.Interval, "interval", 0,
		"Distance between rows, if it is not to be found from the timestamps.")
	cmd.Flags().StringVar(&opts.Findings, "findings", "", "File for the findings, as JSON lines.")
	cmd.Flags().Float64Var(&opts.Budget.PagesPerWeek, "budget", opts.Budget.PagesPerWeek,
		"Pages a week that each file may cost.")
	cmd.Flags().IntVar(&opts.Parallel, "parallel", 2, "Files at a time.")
	return cmd
}
