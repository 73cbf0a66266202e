package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tocsin/app"
	"tocsin/config"
)

func newRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the daemon",
		Long: `Run the daemon. A flag comes before its environment variable (--log.level is TOCSIN_LOG_LEVEL), and that before
the configuration file. A bad file, flag or variable is reported with what to write instead, and nothing is started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			first, err := config.LoadSettings(cmd.Flags(), nil)
			if err != nil {
				return fmt.Errorf("%w: %w", errBadInput, err)
			}
			c, err := load(first.ConfigFile)
			if err != nil {
				return err
			}
			settings, err := config.LoadSettings(cmd.Flags(), c)
			if err != nil {
				return fmt.Errorf("%w: %w", errBadInput, err)
			}
			logger, err := newLogger(settings.LogLevel, settings.LogFormat)
			if err != nil {
				return err
			}
			a, err := app.New(app.Options{Config: c, Settings: settings, Logger: logger})
			if err != nil {
				return err
			}
			return a.Run(cmd.Context())
		},
	}
	config.AddFlags(cmd.Flags())
	return cmd
}
