package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/app"
	"tocsin/collectors/replay"
)

func newReplay() *cobra.Command {
	var opts app.ReplayOptions
	cmd := &cobra.Command{
		Use:   "replay --output DIR [--interval D] INPUT...",
		Short: "Run recordings through the detector and write down what it said of each row",
		Long: `Run recordings through the detector and write down what it said of each row.

INPUT is a CSV file, a CSV.gz file, or a folder of them. Each has a header; time is the column timestamp (RFC 3339,
YYYY-MM-DD hh:mm:ss in UTC, or unix seconds) or step (a row number; needs --interval). The columns label and split
are copied and never read. Every other column is a signal of one service; an empty cell is no sample.

DIR gets a file of the same relative name, without .gz, with the time as it was written, label and split if they are
there, anomaly_score (of the service; 0 where there is nothing to judge), and, for a recording of one signal, expected,
lower and upper, for one of several a score_<column> each.`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			opts.Inputs = args
			if opts.Output == "" || opts.Interval < 0 {
				return fmt.Errorf("%w: say with --output where the results belong, and no negative --interval", errBadInput)
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
	cmd.Flags().IntVar(&opts.Parallel, "parallel", 2, "Files at a time.")
	return cmd
}
