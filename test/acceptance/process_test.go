package acceptance

import (
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tocsin/incident"
	"tocsin/remediation/webhook"
	"tocsin/test/testbed"
)

// process is tocsin as a process.
type process struct {
	*daemon
	*testbed.Process
}

// launch starts the program on the configuration text, with a log of all that it does.
func launch(t *testing.T, program, text string) *process {
	t.Helper()
	dir := t.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", testbed.Port(t))
	d := &daemon{URL: "http://" + address, file: filepath.Join(dir, "tocsin.yaml"), t: t}
	d.rewrite(text)
	return &process{daemon: d, Process: testbed.Start(t, testbed.ProcessOptions{
		Name: "tocsin", Path: program, Dir: dir, Grace: time.Minute,
		Args: []string{
			"run", "--config.file=" + d.file, "--storage.path=" + filepath.Join(dir, "data"),
			"--web.listen-address=" + address, "--log.level=debug",
		},
		Ready: func() error {
			_, err := d.text("/-/healthy")
			return err
		},
	})}
}

// TestAProcess is about what only a process has: signals, kill -9, an exit code and a log.
func TestAProcess(t *testing.T) {
	t.Parallel()
	program := testbed.Build(t, "tocsin")
	t.Run("killed before it has saved anything", func(t *testing.T) {
		t.Parallel()
		tellsOnce(t, program, func(*process) {})
	})
	t.Run("killed after it has saved what is normal", func(t *testing.T) {
		t.Parallel()
		tellsOnce(t, program, func(p *process) {
			p.Stop()
			p.Start()
			p.scored("c")
		})
	})
	t.Run("killed after it has saved that something is wrong", func(t *testing.T) {
		t.Parallel()
		tellsOnce(t, program, func(*process) {}, "storage: {snapshot_interval: 1s}")
	})
	t.Run("signals", func(t *testing.T) {
		t.Parallel()
		heedsSignals(t, program)
	})
}

// tellsOnce kills the daemon with kill -9 while an incident is open that it has told of, starts it again, and wants
// the incident to be the same, to be told of once, and to end.
func tellsOnce(t *testing.T, program string, prepare func(*process), more ...string) {
	s, h := startSource(t), startHook(t)
	p := launch(t, program, configuration(cluster("c", s.URL))+fmt.Sprintf(`
route: {receiver: hook, group_wait: 1s}
receivers: [{name: hook, webhook_configs: [{url: %q}]}]
`, h.URL)+strings.Join(more, "\n"))
	p.scored("c")
	prepare(p)
	s.set("s3", 5)
	testbed.Eventually(t, 2*time.Minute, "the incident to be told", func() error {
		if len(h.all()) == 0 {
			return errors.New("nobody was told")
		}
		return nil
	})
	p.Kill()
	p.Start()
	id := h.all()[0].Incident.ID
	open, err := get[[]incident.Incident](p.daemon, "/api/tocsin/v1/incidents?state=open")
	if err != nil || len(open) != 1 || open[0].ID != id {
		t.Fatalf("after kill -9 there are %d open incidents, %v; want that of before", len(open), err)
	}
	p.scored("c")
	p.advanced("c", 20*time.Second) // Long enough for a second incident, if there were to be one.
	s.set("s3", 1)
	testbed.Eventually(t, 2*time.Minute, "the end to be told", func() error {
		got := h.all()
		if last := got[len(got)-1]; last.Incident.State != incident.Resolved {
			return fmt.Errorf("the last message is %s", last.Incident.State)
		}
		return nil
	})
	opened := map[string]bool{} // By what receivers tell a repeated message by.
	for _, m := range h.all() {
		if m.Incident.ID != id {
			t.Errorf("another incident was told: %s", m.Incident.Title)
		}
		if m.Event == webhook.Opened {
			opened[m.Key] = true
		}
	}
	if len(opened) != 1 {
		t.Errorf("the opening was told under %d keys: %v", len(opened), opened)
	}
}

// heedsSignals reloads by SIGHUP and by the content of the file, and ends on SIGTERM, the parts in their order.
// Nothing that it logs holds a secret, those of a refused file included.
func heedsSignals(t *testing.T, program string) {
	const canary = "canary-51e0"
	s := startSource(t)
	one := cluster("one", s.URL) + "    labels: {team: shop}\n"
	secret := fmt.Sprintf("  - name: two\n    prometheus: {url: %q, basic_auth: {username: u, password: %s}}\n",
		s.URL, canary)
	p := launch(t, program, configuration(one))
	p.scored("one")
	since := p.since("one")

	p.rewrite(configuration(one, secret))
	p.Signal(syscall.SIGHUP)
	p.scored("two")
	p.reloaded(1, "")

	p.rewrite(configuration(one, secret) + fmt.Sprintf(`
receivers: [{name: hook, webhook_configs: [{url: "ftp://%[1]s", secret: [%[1]s]}], slack: %[1]s}]
`, canary))
	p.Signal(syscall.SIGHUP)
	p.reloaded(0, "receivers[0]")
	p.scored("two")

	p.rewrite(configuration(one)) // No signal: the content is enough.
	testbed.Eventually(t, time.Minute, "the second cluster to be gone", func() error {
		if _, err := p.cluster("two"); err == nil {
			return errors.New("it is still there")
		}
		return nil
	})
	p.reloaded(1, "")
	if now := p.since("one"); !now.Equal(since) {
		t.Errorf("the first cluster was disturbed: it is followed since %s, and was since %s", now, since)
	}

	p.Stop()
	if err := p.Err(); err != nil {
		t.Errorf("after SIGTERM the daemon ended with %v", err)
	}
	if strings.Contains(p.Log(), canary) {
		t.Error("the log holds a secret")
	}
	want := []string{
		"API", "reloader", "collectors", "snapshots", "self-check", "detector", "feedback", "recorder",
		"actions", "notification", "score database", "journal",
	}
	if got := stopped(p.Log()); !slices.Equal(got, want) {
		t.Errorf("the parts stopped in the order %q, want %q", got, want)
	}
}

// advanced waits until the newest instant of a cluster is so much later than now.
func (d *daemon) advanced(name string, by time.Duration) {
	d.t.Helper()
	goal := time.Now().Add(by)
	testbed.Eventually(d.t, by+2*time.Minute, name+" to advance", func() error {
		type view struct{ Newest time.Time }
		all, err := get[[]view](d, "/api/tocsin/v1/clusters?cluster="+name)
		if err == nil && (len(all) != 1 || all[0].Newest.Before(goal)) {
			err = fmt.Errorf("%v, want an instant of %s", all, goal)
		}
		return err
	})
}

// since returns when the daemon reached a cluster.
func (d *daemon) since(name string) time.Time {
	d.t.Helper()
	type view struct {
		Metrics struct{ Since time.Time }
	}
	all, err := get[[]view](d, "/api/tocsin/v1/clusters?cluster="+name)
	if err != nil || len(all) != 1 {
		d.t.Fatalf("cluster %s: %v, %v", name, all, err)
	}
	return all[0].Metrics.Since
}

// reloaded waits until the daemon says how its last reload went: in its metrics, and in its status if it went wrong.
func (d *daemon) reloaded(want int, problem string) {
	d.t.Helper()
	type status struct {
		Config struct{ Error string }
	}
	testbed.Eventually(d.t, time.Minute, "the end of the reload", func() error {
		if err := d.metric(fmt.Sprintf("tocsin_config_last_reload_successful %d", want)); err != nil {
			return err
		}
		st, err := get[status](d, "/api/tocsin/v1/status")
		if err == nil && (!strings.Contains(st.Config.Error, problem) || (problem == "") != (st.Config.Error == "")) {
			err = fmt.Errorf("status says %q", st.Config.Error)
		}
		return err
	})
}

// metric wants a line to be among the daemon's own metrics.
func (d *daemon) metric(line string) error {
	text, err := d.text("/metrics")
	if err == nil && !slices.Contains(strings.Split(text, "\n"), line) {
		name, _, _ := strings.Cut(line, "{")
		name, _, _ = strings.Cut(name, " ")
		err = fmt.Errorf("want %s, got %s", line, regexp.MustCompile(`(?m)^`+name+`.*$`).FindAllString(text, -1))
	}
	return err
}

// stopped lists the parts that a log says have stopped.
func stopped(log string) []string {
	var out []string
	for _, m := range regexp.MustCompile(`msg="Part stopped".* part=("[^"]+"|\S+)`).FindAllStringSubmatch(log, -1) {
		out = append(out, strings.Trim(m[1], `"`))
	}
	return out
}
