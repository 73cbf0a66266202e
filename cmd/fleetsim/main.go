// Command fleetsim is a simulated fleet: it serves the metrics of clusters full of services, with
// days, weeks, releases, noise, and faults on a script.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/common/version"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sync/errgroup"

	"tocsin/cmd/fleetsim/sim"
	"tocsin/testdata/scenarios"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		if errors.As(err, new(usageError)) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

// usageError is a mistake of the caller: nothing was started.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// flags are those that need a translation into sim.Options.
type flags struct {
	listen, scenario, start string
	exporters               []string
}

func command() *cobra.Command {
	var opts sim.Options
	var f flags
	c := &cobra.Command{
		Use:           "fleetsim",
		Short:         "Serves the metrics of a simulated fleet",
		Version:       version.Print("fleetsim"),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	c.SetVersionTemplate("{{.Version}}\n")
	c.Args = func(c *cobra.Command, args []string) error {
		if err := cobra.NoArgs(c, args); err != nil {
			return usageError{err}
		}
		return nil
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := f.translate(&opts); err != nil {
			return usageError{err}
		}
		fleet, err := sim.New(opts)
		if err != nil {
			return usageError{err}
		}
		return serve(c.Context(), fleet, f.listen, c.OutOrStdout())
	}
	defineFlags(c.Flags(), &opts, &f)
	return c
}

func defineFlags(p *pflag.FlagSet, opts *sim.Options, f *flags) {
	p.IntVar(&opts.Clusters, "clusters", 3, "number of clusters")
	p.IntVar(&opts.Services, "services", 20,
		"services in each cluster; -1 is none but those posted to /api/pods")
	p.IntVar(&opts.Pods, "pods", 4, "pods of each service")
	p.Uint64Var(&opts.Seed, "seed", 1, "fleets of one seed are the same")
	p.Float64Var(&opts.TimeScale, "time-scale", 1,
		"seconds of the calendar in a second: compresses days, weeks, releases, not requests")
	p.DurationVar(&opts.Step, "step", time.Second,
		"length of a simulated step; longer ones cost less")
	p.DurationVar(&opts.ReleaseEvery, "release-every", 72*time.Hour,
		"mean distance of a service's releases by the calendar; negative is never")
	p.Float64Var(&opts.Spikes, "spikes", 0.5,
		"harmless spikes of a service's traffic a day; negative is none")
	p.Float64Var(&opts.Jobs, "jobs", 0.12,
		"share of the services that have a daily job; negative is none")
	p.Float64Var(&opts.Propagation, "propagation", 0.3,
		"share of a trouble that crosses to a service's callers; negative is nothing")
	p.BoolVar(&opts.Autoscale, "autoscale", false, "let Deployments follow their traffic")
	p.StringVar(&f.listen, "listen-address", "127.0.0.1:9980", "address to serve on")
	p.StringVar(&f.scenario, "scenario", "",
		"file of faults, or the name of a built-in one: demo, release, everything, quiet")
	p.StringVar(&f.start, "start", "", "simulated time at the start, RFC 3339 (default now)")
	p.StringSliceVar(&f.exporters, "exporters", nil, fmt.Sprintf(
		"metric families to serve, of %v (default %v)", sim.Exporters(), sim.DefaultExporters()))
}

func (f *flags) translate(opts *sim.Options) error {
	opts.Start = time.Now()
	if f.start != "" {
		start, err := time.Parse(time.RFC3339, f.start)
		if err != nil {
			return fmt.Errorf("--start: %q is not a time; write one such as 2026-01-05T09:00:00Z",
				f.start)
		}
		opts.Start = start
	}
	for _, e := range f.exporters {
		opts.Exporters = append(opts.Exporters, sim.Exporter(e))
	}
	if f.scenario == "" {
		return nil
	}
	text, name, err := readScenario(f.scenario)
	if err != nil {
		return fmt.Errorf("--scenario: %w", err)
	}
	opts.Faults, err = sim.ParseScenario(name, text)
	return err
}

// readScenario reads a built-in scenario or, if there is none of that name, a file.
func readScenario(name string) (text []byte, file string, err error) {
	file = name + ".yaml"
	if text, err = fs.ReadFile(scenarios.Files(), file); err == nil {
		return text, file, nil
	}
	text, err = os.ReadFile(name)
	return text, name, err
}

// serve lets the fleet live and serves it until ctx is done.
func serve(ctx context.Context, fleet *sim.Fleet, address string, out io.Writer) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "fleetsim: listening on http://%s\n", listener.Addr())
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	group, ctx := errgroup.WithContext(ctx)
	server := &http.Server{
		Handler:           fleet.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx }, // It ends watches.
	}
	group.Go(func() error { return fleet.Run(ctx) })
	group.Go(func() error {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	group.Go(func() error {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		return server.Shutdown(ctx)
	})
	return group.Wait()
}
