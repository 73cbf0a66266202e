package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/prometheus/common/model"
	"github.com/spf13/cobra"

	"tocsin/app"
)

// errOverBudget means that people would have been told more often than the caller of a backtest
// accepts.
var errOverBudget = errors.New("over budget")

// backtestFlags are what a backtest is asked for.
type backtestFlags struct {
	config, start, end, warmUp, step string
	html                             string
	maxPages                         float64
	logLevel                         string
	opts                             app.BacktestOptions
}

func newBacktest() *cobra.Command {
	var f backtestFlags
	cmd := &cobra.Command{
		Use:   "backtest --config.file FILE --start TIME [--end TIME] [flags]",
		Short: "Run the past of your clusters through the detector",
		Long: `Run the past of your clusters through the detector, and say what people would have
been told.

History comes from the clusters' own Prometheus: the same queries at the same instants as the
daemon's, by range queries. What the source does not have is said, and not counted. Times are RFC
3339 or unix seconds; durations 90s, 5m, 14d.

--labels FILE is a CSV file with the columns cluster, namespace, service, start and end; an empty
service stands for the whole namespace, an empty namespace for the whole cluster.

Exit code 0: done. 1: it could not be done, or there are more pages a week than
--max-pages-per-week. 2: something was asked for wrongly; nothing was started.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config.file", "tocsin.yaml", "Configuration file.")
	flags.StringVar(&f.start, "start", "", "Incidents count from here on.")
	flags.StringVar(&f.end, "end", "", "Where the test ends; now.")
	flags.StringVar(&f.warmUp, "warm-up", "14d",
		"How long before the start learning begins, as far as there is history.")
	flags.StringVar(&f.step, "step", "",
		"Distance of instants, a multiple of the interval; the interval of each cluster.")
	flags.StringSliceVar(&f.opts.Clusters, "cluster", nil, "Only this cluster; may be repeated.")
	flags.StringVar(&f.opts.Labels, "labels", "", "CSV file of what is known to have happened.")
	flags.StringVar(&f.html, "html", "", "Write the report as a page with plots to this file, too.")
	flags.Float64Var(&f.maxPages, "max-pages-per-week", -1, "Fail if there are more.")
	flags.IntVar(&f.opts.Parallel, "parallel", 2, "Clusters at a time.")
	flags.StringVar(&f.logLevel, "log.level", "warn",
		"Of the log on standard error: debug, info, warn or error.")
	return cmd
}

// run tests, prints, and judges.
func (f *backtestFlags) run(cmd *cobra.Command) error {
	if err := f.parse(cmd); err != nil {
		return err
	}
	progress := newProgress(cmd.ErrOrStderr(), time.Now)
	f.opts.Progress = func(done float64, cluster string, at time.Time) {
		progress.show(done, fmt.Sprintf("%s at %s", cluster, at.Format(time.RFC3339)))
	}
	report, err := app.Backtest(cmd.Context(), f.opts)
	progress.end()
	var bad *app.InputError
	if errors.As(err, &bad) {
		return fmt.Errorf("%w: %w", errBadInput, err)
	}
	if err != nil {
		return err
	}
	if f.html != "" {
		if err := writeFile(f.html, report.WriteHTML); err != nil {
			return err
		}
	}
	if err := report.WriteText(cmd.OutOrStdout()); err != nil {
		return err
	}
	if cmd.Flags().Changed("max-pages-per-week") && report.PagesPerWeek > f.maxPages {
		return fmt.Errorf("%w: %s, --max-pages-per-week is %g", errOverBudget, report.PagesLine(),
			f.maxPages)
	}
	return nil
}

// parse reads the flags and the configuration.
func (f *backtestFlags) parse(cmd *cobra.Command) error {
	var err error
	for _, t := range []struct {
		flag, text string
		to         *time.Time
	}{{"start", f.start, &f.opts.Start}, {"end", f.end, &f.opts.End}} {
		if t.text == "" {
			continue
		}
		if *t.to, err = app.ParseTime(t.text); err != nil {
			return fmt.Errorf("%w: --%s: %w", errBadInput, t.flag, err)
		}
	}
	for _, d := range []struct {
		flag, text string
		to         *time.Duration
	}{{"warm-up", f.warmUp, &f.opts.WarmUp}, {"step", f.step, &f.opts.Step}} {
		if *d.to, err = parseDuration(d.text); err != nil {
			return fmt.Errorf("%w: --%s: %w", errBadInput, d.flag, err)
		}
	}
	if f.opts.WarmUp == 0 {
		f.opts.WarmUp = -1 // None at all, and not the default.
	}
	if cmd.Flags().Changed("max-pages-per-week") && !(f.maxPages >= 0) {
		return fmt.Errorf("%w: --max-pages-per-week %g: want 0 or more", errBadInput, f.maxPages)
	}
	if f.opts.Logger, err = newLogger(f.logLevel, "logfmt"); err != nil {
		return err
	}
	f.opts.Config, err = load(f.config)
	return err
}

// parseDuration reads a duration as the configuration file has it; nothing is 0.
func parseDuration(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := model.ParseDuration(text)
	return time.Duration(d), err
}

// writeFile writes a file as a whole or not at all.
func writeFile(path string, write func(io.Writer) error) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tocsin-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("write %s: %w", path, err), os.Remove(tmp.Name()))
		}
	}()
	if err := errors.Join(write(tmp), tmp.Chmod(0o644), tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
