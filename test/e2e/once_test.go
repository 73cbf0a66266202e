//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"

	"tocsin/fleet"
	"tocsin/remediation/rollback"
)

// What TestExactlyOnce tells its rivals, and what make once tells it.
const (
	incidentsVariable = "TOCSIN_ONCE_INCIDENTS" // How many; 10.
	rivalVariable     = "TOCSIN_ONCE_RIVAL"     // Number of a rival: the test binary is one.
	arenaVariable     = "TOCSIN_ONCE_ARENA"     // URL of the arena, for a rival.
)

const (
	rivalCount = 8
	lossRate   = 0.20 // Of the replies to writes, rehearsals and questions about rights.
	deathRate  = 0.04 // At each step of each rival, and at each write.
)

// arena stands between eight rivals, each a process, and the API server. It hands out incidents,
// loses replies, kills rivals while they write, and counts what the API server has really
// accepted.
type arena struct {
	t     *testing.T
	proxy *httputil.ReverseProxy

	mu       sync.Mutex // Guards what follows.
	incident int        // The current one, from 1; 0: none yet; -1: all are over.
	request  rollback.Request
	done     [rivalCount]int // The last incident that a rival has finished.
	rivals   [rivalCount]*os.Process
	writes   map[string]int // Accepted, by name of the workload.
	lost     int
	deaths   map[string]int // By step.
	changed  chan struct{}  // Closed when incident or done has changed.
}

// ServeHTTP answers rivals, or hands on what they ask the API server.
func (a *arena) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rival, _ := strconv.Atoi(strings.TrimPrefix(r.UserAgent(), "rival-"))
	if r.URL.Path == "/arena" {
		a.next(w, r, rival)
		return
	}
	write := isWrite(r)
	if write && rand.Float64() < deathRate {
		a.kill(rival)
	}
	answer := httptest.NewRecorder()
	// The rival may be gone: what is on its way arrives all the same.
	a.proxy.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
	a.mu.Lock()
	if write && answer.Code == http.StatusOK {
		a.writes[r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]]++
	}
	lose := r.Method != http.MethodGet && rand.Float64() < lossRate
	if lose {
		a.lost++
	}
	a.mu.Unlock()
	if lose {
		panic(http.ErrAbortHandler)
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = io.Copy(w, answer.Body)
}

// next gives a rival, who says which incident it has finished, the one after it.
func (a *arena) next(w http.ResponseWriter, r *http.Request, rival int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if n, err := strconv.Atoi(r.URL.Query().Get("done")); err == nil && n > 0 {
		a.done[rival] = n
		a.announce()
	}
	for a.incident >= 0 && a.incident == a.done[rival] {
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-r.Context().Done():
		}
		a.mu.Lock()
		if r.Context().Err() != nil {
			return
		}
	}
	if a.incident < 0 {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	w.Header().Set("Incident", strconv.Itoa(a.incident))
	_ = json.NewEncoder(w).Encode(a.request)
}

func (a *arena) announce() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// kill ends a rival that is just writing.
func (a *arena) kill(rival int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.deaths["on the wire"]++
	_ = a.rivals[rival].Kill()
}

// play has all rivals deal with an incident and returns when each has.
func (a *arena) play(n int, r rollback.Request) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.incident, a.request = n, r
	a.announce()
	ctx, cancel := context.WithTimeout(a.t.Context(), soon)
	defer cancel()
	for {
		open := 0
		for _, last := range a.done {
			if last < n {
				open++
			}
		}
		if open == 0 || n < 0 {
			return nil
		}
		changed := a.changed
		a.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
		}
		a.mu.Lock()
		if ctx.Err() != nil {
			return fmt.Errorf("%d rivals have not finished", open)
		}
	}
}

// enter keeps one rival alive: a process that was killed is followed by another one that knows
// nothing.
func (a *arena) enter(rival int, url string) error {
	for {
		cmd := exec.CommandContext(a.t.Context(), os.Args[0], "-test.run=^TestRival$", "-test.v")
		cmd.Env = append(os.Environ(), rivalVariable+"="+strconv.Itoa(rival), arenaVariable+"="+url)
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		a.mu.Lock()
		err = cmd.Start()
		a.rivals[rival] = cmd.Process
		a.mu.Unlock()
		if err != nil {
			return err
		}
		var log strings.Builder
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if stage, ok := strings.CutPrefix(lines.Text(), "dies: "); ok {
				a.mu.Lock()
				a.deaths[stage]++
				a.mu.Unlock()
			}
			fmt.Fprintln(&log, lines.Text())
		}
		err = cmd.Wait()
		status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
		if ok && status.Signal() == syscall.SIGKILL {
			continue
		}
		if err != nil {
			return fmt.Errorf("rival %d: %w\n%s", rival, err, log.String())
		}
		return nil
	}
}

// TestExactlyOnce has eight processes undo the same bad release, again and again, while a fifth of
// the replies is lost and processes are killed at every step between decision and verification.
func TestExactlyOnce(t *testing.T) {
	incidents := 10
	if text := os.Getenv(incidentsVariable); text != "" {
		var err error
		if incidents, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	b := newBed(t)
	a := &arena{
		t: t, writes: map[string]int{}, deaths: map[string]int{}, changed: make(chan struct{}),
	}
	a.proxy = proxyTo(t, b)
	server := httptest.NewServer(a)
	t.Cleanup(server.Close)
	var rivals sync.WaitGroup
	for rival := range rivalCount {
		rivals.Go(func() {
			if err := a.enter(rival, server.URL); err != nil {
				t.Error(err)
			}
		})
	}

	begin, once := time.Now(), 0
	next := b.stage(t.Context(), 1)
	for n := 1; n <= incidents; n++ {
		incident := <-next
		if incident.err != nil {
			t.Fatalf("stage incident %d: %v", n, incident.err)
		}
		next = b.stage(t.Context(), n+1) // While the rivals are busy.
		if err := a.play(n, incident.request); err != nil {
			t.Fatalf("incident %d: %v", n, err)
		}
		if b.once(t, a, incident.request) {
			once++
		}
		if n%100 == 0 {
			t.Logf("%d of %d after %s", once, n, time.Since(begin).Round(time.Second))
		}
	}
	<-next
	if err := a.play(-1, rollback.Request{}); err != nil {
		t.Error(err)
	}
	rivals.Wait()
	t.Logf("%d incidents, %d rolled back exactly once, in %s; %d replies lost; killed: %v",
		incidents, once, time.Since(begin).Round(time.Second), a.lost, a.deaths)
	if once != incidents {
		t.Errorf("%d of %d incidents were rolled back exactly once", once, incidents)
	}
}

// proxyTo returns a proxy to the API server that speaks for admin.
func proxyTo(t *testing.T, b *bed) *httputil.ReverseProxy {
	t.Helper()
	transport, err := rest.TransportFor(b.config)
	if err != nil {
		t.Fatal(err)
	}
	to, err := url.Parse(b.URL)
	if err != nil {
		t.Fatal(err)
	}
	return &httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Header.Del("Accept-Encoding")
		},
	}
}

// staged is an incident that is ready, or why it is not.
type staged struct {
	request rollback.Request
	err     error
}

// stage prepares an incident in the background: a workload of which a bad revision was just
// released.
func (b *bed) stage(ctx context.Context, n int) <-chan staged {
	out := make(chan staged, 1)
	go func() {
		r, err := b.prepare(ctx, fmt.Sprintf("svc-%04d", n))
		out <- staged{r, err}
	}()
	return out
}

func (b *bed) prepare(ctx context.Context, name string) (rollback.Request, error) {
	r := rollback.Request{Action: "act-" + name, Target: rollback.Target{
		Cluster: b.Name, Kind: fleet.Deployment, Namespace: "default", Name: name,
	}}
	client := b.client.Resource(resources[fleet.Deployment]).Namespace("default")
	o, err := client.Create(ctx, &unstructured.Unstructured{Object: object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": name},
		"spec": object{
			"replicas": int64(1), "selector": object{"matchLabels": object{"app": name}},
			"template": object{
				"metadata": object{"labels": object{"app": name}},
				"spec":     podSpec("cart:v1"),
			},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		return r, err
	}
	r.Target.UID = string(o.GetUID())
	if r.Good, err = hashOf(o); err != nil {
		return r, err
	}
	if err := b.numbered(ctx, name, "1"); err != nil {
		return r, err
	}
	r.Healthy = time.Now()
	body, err := json.Marshal([]any{object{
		"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "cart:bad",
	}})
	if err != nil {
		return r, err
	}
	options := metav1.PatchOptions{FieldManager: "user"}
	o, err = client.Patch(ctx, name, types.JSONPatchType, body, options)
	if err != nil {
		return r, err
	}
	if r.Bad, err = hashOf(o); err != nil {
		return r, err
	}
	return r, b.numbered(ctx, name, "2")
}

// numbered waits until the controller has made a ReplicaSet of a Deployment's revision.
func (b *bed) numbered(ctx context.Context, name, revision string) error {
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		o, err := b.client.Resource(resources[fleet.Deployment]).Namespace("default").
			Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if o.GetAnnotations()["deployment.kubernetes.io/revision"] == revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for revision %s of %s: %w", revision, name, ctx.Err())
		case <-tick.C:
		}
	}
}

// once checks that an incident was rolled back by exactly one write, and takes the workload away.
func (b *bed) once(t *testing.T, a *arena, r rollback.Request) bool {
	t.Helper()
	client := b.client.Resource(resources[fleet.Deployment]).Namespace("default")
	o, err := client.Get(t.Context(), r.Target.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	a.mu.Lock()
	writes := a.writes[r.Target.Name]
	a.mu.Unlock()
	image := imageOf(o, "spec", "template", "spec")
	ok := writes == 1 && o.GetGeneration() == 3 && image == "cart:v1"
	if !ok {
		t.Errorf("%s: %d writes, generation %d, runs %s", r.Target.Name, writes, o.GetGeneration(), image)
	}
	background := metav1.DeletePropagationBackground
	options := metav1.DeleteOptions{PropagationPolicy: &background}
	if err = client.Delete(t.Context(), r.Target.Name, options); err != nil {
		t.Error(err)
	}
	return ok
}

// TestRival is one of the processes of TestExactlyOnce, and nothing by itself.
func TestRival(t *testing.T) {
	name := os.Getenv(rivalVariable)
	if name == "" {
		return
	}
	e, err := rollback.New(rollback.Options{
		Cluster: "rollback", Timeout: 5 * time.Second, Attempts: 50, Poll: 100 * time.Millisecond,
		Config: &rest.Config{Host: os.Getenv(arenaVariable), UserAgent: "rival-" + name},
		Note: func(_ context.Context, step rollback.Step) error {
			if rand.Float64() < deathRate {
				fmt.Printf("dies: %s\n", step.Stage)
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	for done := ""; ; {
		number, request, err := ask(t.Context(), name, done)
		if err != nil {
			t.Fatal(err)
		}
		if number == "" {
			return
		}
		rescue(t, e, request)
		done = number
	}
}

// ask tells the arena what a rival has finished, and returns the next incident, if there is one.
func ask(ctx context.Context, name, done string) (number string, r rollback.Request, err error) {
	url := os.Getenv(arenaVariable) + "/arena?done=" + done
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", r, err
	}
	req.Header.Set("User-Agent", "rival-"+name)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", r, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent {
		return "", r, nil
	}
	return resp.Header.Get("Incident"), r, json.NewDecoder(resp.Body).Decode(&r)
}

// rescue has a rival undo a release and see that it is undone.
func rescue(t *testing.T, e *rollback.Executor, r rollback.Request) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	for {
		_, err := e.Undo(ctx, r)
		if err == nil {
			break
		}
		var refusal *rollback.Refusal
		if errors.As(err, &refusal) || ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	if o, err := e.Verify(ctx, r); err != nil || o.Result != rollback.Complete {
		t.Fatalf("outcome %+v, %v", o, err)
	}
}
