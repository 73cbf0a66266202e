package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

func newCheck() *cobra.Command {
	check := &cobra.Command{
		Use:   "check",
		Short: "Check files without starting anything",
	}
	check.AddCommand(&cobra.Command{
		Use:   "config FILE",
		Short: "Check a configuration file; say file, line, field, what is wrong and what to write instead",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(args[0])
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d clusters, %d signals of its own, %d receivers\n",
				args[0], len(c.Clusters), len(c.Signals), len(c.Receivers))
			return err
		},
	})
	return check
}
