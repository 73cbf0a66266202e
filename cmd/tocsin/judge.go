package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/release/offline"
)

func newJudge() *cobra.Command {
	var pods, cases string
	var alpha float64
	cmd := &cobra.Command{
		Use:   "judge --pods FILE [--alpha A] | --cases FILE",
		Short: "Judge recorded releases",
		Long: `Judge recorded releases. Each is written as one line of JSON as soon as it is decided.

--pods FILE is a CSV or CSV.gz file, or - for standard input, with the columns release, time (unix seconds), pod,
revision (old or new), requests, errors, cpu_seconds, memory_bytes and latency_le_<bound> ... latency_le_+Inf. Counters
are cumulative for each pod; an empty cell is no sample. The rows of one release stand together, in order of time; a
release begins when its first new pod appears. A release named <service>/<release>/<cluster> is pooled over clusters;
history/<service>/... is a harmless past release to learn from.

--cases FILE is a CSV file with the columns id, file, change_time: each file holds timestamp,value of one metric,
which is compared before and after the change.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			switch {
			case (pods == "") == (cases == ""):
				return fmt.Errorf("%w: say what to judge, with either --pods or --cases", errBadInput)
			case alpha <= 0 || alpha >= 1:
				return fmt.Errorf("%w: --alpha %g: want a share between 0 and 1", errBadInput, alpha)
			case pods != "":
				err = offline.Pods(offline.PodOptions{
					Path: pods, In: cmd.InOrStdin(), Out: cmd.OutOrStdout(), Alpha: alpha,
				})
			default:
				err = fmt.Errorf("%w: --cases is not there yet", errBadInput)
			}
			var bad *offline.RowError
			if errors.As(err, &bad) {
				return fmt.Errorf("%w: %w", errBadInput, err)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&pods, "pods", "", "Recording of the pods of releases.")
	cmd.Flags().StringVar(&cases, "cases", "", "List of single metrics around a change.")
	cmd.Flags().Float64Var(&alpha, "alpha", 0.001, "The chance that a harmless release is called regressed.")
	return cmd
}
