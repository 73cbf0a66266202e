package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"tocsin/release/offline"
	"tocsin/release/simulation"
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
				err = offline.Cases(offline.CaseOptions{Path: cases, Out: cmd.OutOrStdout()})
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
	cmd.AddCommand(newSimulate())
	return cmd
}

func newSimulate() *cobra.Command {
	var opts simulation.Options
	var style, generator, what string
	cmd := &cobra.Command{
		Use:   "simulate [--releases N] [--seed S] [--alpha A] [--class NAME] [--style NAME] [--generator NAME] [--of WHAT]",
		Short: "Measure judges by made-up releases and print tables of false verdicts, power and times",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if opts.Releases <= 0 || opts.Alpha <= 0 || opts.Alpha >= 1 || opts.Unruly <= 0 ||
				!slices.Contains([]string{"", "low", "medium", "high"}, opts.Class) {
				return fmt.Errorf("%w: want --releases and --noise above 0, --alpha between 0 and 1, "+
					"--class low, medium or high", errBadInput)
			}
			for s := simulation.Fixed; s <= simulation.Swift; s++ {
				if style == "" || style == s.String() {
					opts.Styles = append(opts.Styles, s)
				}
			}
			if len(opts.Styles) == 0 || !slices.Contains([]string{"first", "other"}, generator) {
				return fmt.Errorf("%w: want --style fixed, progressive, rolling or swift, --generator first or other",
					errBadInput)
			}
			opts.Other = generator == "other"
			opts.Out = cmd.OutOrStdout()
			switch what {
			case "leaks":
				return simulation.Leaks(cmd.Context(), opts)
			case "pools":
				return simulation.Pools(cmd.Context(), opts)
			case "releases":
			default:
				return fmt.Errorf("%w: want --of releases, leaks or pools", errBadInput)
			}
			return simulation.Run(cmd.Context(), opts)
		},
	}
	cmd.Flags().IntVar(&opts.Releases, "releases", 1000,
		"Harmless releases for each class and style; of each regression there are a tenth.")
	cmd.Flags().Uint64Var(&opts.Seed, "seed", 1, "The same seed gives the same table.")
	cmd.Flags().Float64Var(&opts.Alpha, "alpha", 0.001, "The chance that a harmless release is called regressed.")
	cmd.Flags().StringVar(&opts.Class, "class", "", "Only this class of traffic: low, medium or high.")
	cmd.Flags().StringVar(&what, "of", "releases",
		"What is judged: releases, leaks of memory, or pools of clusters with low traffic.")
	cmd.Flags().StringVar(&style, "style", "", "Only this style of rollout: fixed, progressive, rolling or swift.")
	cmd.Flags().StringVar(&generator, "generator", "first",
		"Who makes up the services: first, or other (Weibull latencies, heavy tails, zones, slow warm-ups).")
	cmd.Flags().Float64Var(&opts.Unruly, "noise", 1, "Multiplies the noise of the made-up services.")
	cmd.Flags().BoolVar(&opts.Rivals, "rivals", true, "Measure other judges, too.")
	return cmd
}
