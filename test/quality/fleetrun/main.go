// Command fleetrun runs a simulated fleet through the detector and the incidents of the daemon, and
// prints what that costs, what people would have been told, and which scripted faults were found.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var o options
	flag.IntVar(&o.clusters, "clusters", 300, "how many clusters")
	flag.IntVar(&o.services, "services", 200, "how many services each cluster has")
	flag.IntVar(&o.signals, "signals", len(columns), "how many signals each service has")
	flag.IntVar(&o.days, "days", 14, "how many days pass; an interrupt stops after the one at hand")
	flag.DurationVar(&o.step, "step", 5*time.Minute, "time between two values of a series")
	flag.Float64Var(&o.budget, "budget", 2, "pages a week that people accept")
	flag.StringVar(&o.per, "per", "service", "who accepts them: service, team or fleet")
	flag.StringVar(&o.faults, "faults", scripted, "script, none, or a scenario of fleetsim")
	flag.Uint64Var(&o.seed, "seed", 1, "fleets of one seed are the same")
	flag.DurationVar(&o.releaseEvery, "release-every", 0, "as of fleetsim; negative is never")
	flag.Float64Var(&o.spikes, "spikes", 0, "as of fleetsim; negative is none")
	flag.Float64Var(&o.jobs, "jobs", 0, "as of fleetsim; negative is none")
	flag.Parse()
	o.progress = os.Stderr
	r, err := run(ctx, o)
	if err == nil {
		err = r.write(os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleetrun: "+err.Error())
		os.Exit(1) //nolint:gocritic // The deferred stop has nothing left to do.
	}
}
