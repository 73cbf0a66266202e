package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"text/template"
	"time"

	"github.com/spf13/cobra"

	"tocsin/app"
	"tocsin/config"
	"tocsin/incident"
)

// demo is a fleet on one machine: fleetsim, a Prometheus that scrapes it, and the daemon.
type demo struct {
	fleetsim   string
	prometheus string
	logLevel   string
	out        io.Writer
	dir        string
}

func newDemo() *cobra.Command {
	var d demo
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run the daemon on its defaults with a simulated fleet until Ctrl-C",
		Long: `Run the daemon on its defaults with a simulated fleet of 3 clusters with 20 services each, and a Prometheus
that scrapes it. Days take some minutes. Three minutes in, a fault begins; the incident is shown when it opens and when
it closes. 'make demo' builds all of it.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d.out = cmd.OutOrStdout()
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&d.fleetsim, "fleetsim", "bin/fleetsim", "The program fleetsim.")
	cmd.Flags().StringVar(&d.prometheus, "prometheus", "prometheus", "The program prometheus.")
	cmd.Flags().StringVar(&d.logLevel, "log.level", "warn", "Level of the daemon's own log.")
	return cmd
}

// places are the addresses of the demo.
type places struct{ Fleetsim, Prometheus, Tocsin string }

func (d *demo) run(ctx context.Context) (err error) {
	d.dir, err = os.MkdirTemp("", "tocsin-demo-")
	if err != nil {
		return fmt.Errorf("make a folder for the demo: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(d.dir)) }()

	at := places{
		Fleetsim: address("127.0.0.1:9980"), Prometheus: address("127.0.0.1:9090"), Tocsin: address("127.0.0.1:9977"),
	}
	a, err := d.daemon(at)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	stopFleetsim, err := d.start(stop, d.fleetsim, "--listen-address", at.Fleetsim, "--scenario", "demo",
		"--time-scale", "240", "--release-every", "48h")
	if err != nil {
		return err
	}
	defer stopFleetsim()
	stopPrometheus, err := d.startPrometheus(ctx, stop, at)
	if err != nil {
		return err
	}
	defer stopPrometheus()

	fmt.Fprintf(d.out, `
  tocsin       http://%s/    status: /api/tocsin/v1/status
  Prometheus   http://%s/    what it learns from
  fleetsim     http://%s/    3 clusters x 20 services; a day takes six minutes
  files        %s

Learning for about two minutes; then, at %s, a third of the checkout's requests in the cluster east begin to
fail. The incident appears below when it opens and when it closes, about six minutes later. Ctrl-C stops everything.

`, at.Tocsin, at.Prometheus, at.Fleetsim, d.dir, time.Now().Add(3*time.Minute).Format(time.TimeOnly))
	err = a.Run(ctx)
	if cause := context.Cause(ctx); err == nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// address returns want, or another free port of this machine if that one is taken.
func address(want string) string {
	for _, try := range []string{want, "127.0.0.1:0"} {
		l, err := net.Listen("tcp", try)
		if err != nil {
			continue
		}
		at := l.Addr().String()
		if l.Close() == nil {
			return at
		}
	}
	return want
}

// start starts a program and returns what stops it. Should it end by itself, the demo ends too.
func (d *demo) start(stop context.CancelCauseFunc, path string, args ...string) (func(), error) {
	name := filepath.Base(path)
	log, err := os.Create(filepath.Join(d.dir, name+".log"))
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for this process, which then stops the others.
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", name, err), log.Close())
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		err := cmd.Wait()
		text, _ := os.ReadFile(log.Name()) // For the message only.
		stop(fmt.Errorf("%s ended: %w\n%s", name, errors.Join(err, log.Close()), tail(string(text), 5)))
	}()
	return func() {
		_ = cmd.Process.Signal(syscall.SIGTERM) // It may have ended already.
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
	}, nil
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (d *demo) startPrometheus(ctx context.Context, stop context.CancelCauseFunc, at places) (func(), error) {
	file, err := d.write("prometheus.yml", prometheusConfig, at)
	if err != nil {
		return nil, err
	}
	end, err := d.start(stop, d.prometheus, "--config.file="+file, "--web.listen-address="+at.Prometheus,
		"--storage.tsdb.path="+filepath.Join(d.dir, "prometheus"), "--log.level=warn")
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, "http://"+at.Prometheus+"/-/ready"); err != nil {
		end()
		return nil, fmt.Errorf("wait for Prometheus: %w", err)
	}
	return end, nil
}

// ready waits until url answers 200.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	retry := time.NewTicker(100 * time.Millisecond)
	defer retry.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			ok := resp.StatusCode == http.StatusOK
			if err := resp.Body.Close(); ok && err == nil {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-retry.C:
		}
	}
}

// daemon builds the daemon of the demo.
func (d *demo) daemon(at places) (*app.App, error) {
	file, err := d.write("tocsin.yaml", tocsinConfig, at)
	if err != nil {
		return nil, err
	}
	c, err := config.Load(file)
	if err != nil {
		return nil, err
	}
	logger, err := newLogger(d.logLevel, "logfmt")
	if err != nil {
		return nil, err
	}
	return app.New(app.Options{
		Config: c,
		Settings: config.Settings{
			ConfigFile: file, ListenAddress: at.Tocsin, ExternalURL: "http://" + at.Tocsin,
			StoragePath: filepath.Join(d.dir, "data"),
		},
		Logger:  logger,
		Observe: newBoard(d.out).show,
	})
}

func (d *demo) write(name, text string, at places) (string, error) {
	t, err := template.New(name).Parse(text)
	if err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	var b strings.Builder
	if err := t.Execute(&b, at); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		return "", fmt.Errorf("write %s: %w", name, err)
	}
	return path, nil
}

const prometheusConfig = `global: {scrape_interval: 2s, scrape_timeout: 2s}
scrape_configs:
  - job_name: fleet
    http_sd_configs:
      - {url: "http://{{.Fleetsim}}/sd"}
`

const tocsinConfig = `# The defaults, but for the pace: everything is some times as quick as in a real fleet.
global: {interval: 2s, lag: 3s, window: 20s}
clusters:
{{- range $name := .Clusters}}
  - name: {{$name}}
    prometheus: {url: "http://{{$.Prometheus}}"}
    selector: cluster="{{$name}}"
{{- end}}
detection: {warm_up: 45, period: 6m}
incidents: {related_window: 30s, hold: 30s}
`

// Clusters are the clusters that fleetsim has.
func (places) Clusters() []string { return []string{"east", "west", "north"} }

// board prints for a person at a terminal when an incident opens and when it closes.
type board struct {
	out   io.Writer
	shown map[string]incident.State // By ID.
}

func newBoard(out io.Writer) *board { return &board{out, make(map[string]incident.State)} }

// show implements app.Options.Observe, which one goroutine calls at a time.
func (b *board) show(i incident.Incident) {
	if b.shown[i.ID] == i.State {
		return
	}
	b.shown[i.ID] = i.State
	at := i.Opened
	if i.State == incident.Resolved {
		at = i.End
	}
	fmt.Fprintf(b.out, "%s  %-8s %-8s %s\n",
		at.Local().Format(time.TimeOnly), strings.ToUpper(string(i.State)), i.Severity, i.Title)
}
