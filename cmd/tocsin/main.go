// Command tocsin watches the services of a fleet, scores what is improbable, and tells people once.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/prometheus/common/promslog"
	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"

	"tocsin/config"
)

// Exit codes of the process.
const (
	exitFailed   = 1 // It began and could not go on.
	exitBadInput = 2 // It was asked for something that cannot be; nothing was started.
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := newRoot()
	err := cmd.ExecuteContext(ctx)
	if err == nil {
		return
	}
	fmt.Fprintln(os.Stderr, describe(err))
	os.Exit(exitCode(err)) //nolint:gocritic // The deferred stop has nothing left to do.
}

// describe prints the errors of a configuration one to a line, in the form that editors jump to, and any
// other error behind the program's name.
func describe(err error) string {
	var bad config.Errors
	if errors.As(err, &bad) {
		return bad.Error()
	}
	return "tocsin: " + err.Error()
}

// errBadInput marks what was asked for wrongly.
var errBadInput = errors.New("bad input")

func exitCode(err error) int {
	var bad config.Errors
	if errors.As(err, &bad) || errors.Is(err, errBadInput) {
		return exitBadInput
	}
	return exitFailed
}

// load reads a configuration file. One that cannot be read is bad input too.
func load(path string) (*config.Config, error) {
	c, err := config.Load(path)
	var bad config.Errors
	if err != nil && !errors.As(err, &bad) {
		err = fmt.Errorf("%w: %w", errBadInput, err)
	}
	return c, err
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "tocsin",
		Short:         "Anomaly detection for microservice fleets",
		Long:          "tocsin watches the services of hundreds of clusters, learns what is normal for each, and tells people once.",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version.Version,
	}
	root.SetVersionTemplate(version.Print("tocsin") + "\n")
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w: %w; see '%s --help'", errBadInput, err, c.CommandPath())
	})
	root.AddCommand(newRun(), newCheck(), newReplay(), newVersion(), newDemo(), newJudge(),
		newFeedback(), newBacktest(), newPlan(), newGet(), newDescribe(), newApprove(), newAbort(),
		newRetry(), newMark(), newPause(), newResume(), newReport(), newAcknowledge(),
		newResolve())
	return root
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version of this build",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version.Print("tocsin"))
			return err
		},
	}
}

// newLogger returns a logger that writes to standard error, as Prometheus does.
func newLogger(level, format string) (*slog.Logger, error) {
	c := &promslog.Config{Level: promslog.NewLevel(), Format: promslog.NewFormat()}
	if err := c.Level.Set(level); err != nil {
		return nil, fmt.Errorf("%w: --log.level: %w", errBadInput, err)
	}
	if err := c.Format.Set(format); err != nil {
		return nil, fmt.Errorf("%w: --log.format: %w", errBadInput, err)
	}
	return promslog.New(c), nil
}
