package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/app"
)

func newPlan() *cobra.Command {
	var opts app.PlanOptions
	var file, output, horizon, level string
	cmd := &cobra.Command{
		Use:   "plan --config.file FILE [flags]",
		Short: "Count the series in the sources and say what the daemon will need",
		Long: `Count the series in the sources and say what the daemon will need.

Each source is asked once for everything that the daemon would ask it for at every tick, and once
for how much that is.
What a series costs is measured on this machine in about a second.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if output != "text" && output != "json" {
				return fmt.Errorf("%w: --output %q: want text or json", errBadInput, output)
			}
			if opts.Horizon, err = parseDuration(horizon); err != nil {
				return fmt.Errorf("%w: --horizon: %w", errBadInput, err)
			}
			if opts.Logger, err = newLogger(level, "logfmt"); err != nil {
				return err
			}
			if opts.Config, err = load(file); err != nil {
				return err
			}
			plan, err := app.MakePlan(cmd.Context(), opts)
			var bad *app.InputError
			switch {
			case errors.As(err, &bad):
				return fmt.Errorf("%w: %w", errBadInput, err)
			case err != nil:
				return err
			case output == "json":
				return plan.WriteJSON(cmd.OutOrStdout())
			}
			return plan.WriteText(cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&file, "config.file", "tocsin.yaml", "Configuration file.")
	cmd.Flags().StringVar(&horizon, "horizon", "",
		"Plan the disk for this time; as long as things are kept.")
	cmd.Flags().StringSliceVar(&opts.Clusters, "cluster", nil, "Only this cluster; may be repeated.")
	cmd.Flags().StringVar(&output, "output", "text", "text or json.")
	cmd.Flags().IntVar(&opts.Parallel, "parallel", 8, "Clusters at a time.")
	cmd.Flags().StringVar(&level, "log.level", "warn",
		"Of the log on standard error: debug, info, warn or error.")
	return cmd
}
