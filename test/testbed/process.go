package testbed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ProcessOptions describes a program to run.
type ProcessOptions struct {
	Name  string        // Of its log: required.
	Path  string        // Of the program: required.
	Args  []string      // Without the program's name.
	Env   []string      // Added to the test's own environment.
	Dir   string        // Where it runs; the test's folder.
	Ready func() error  // Returns nil once it serves; nil: it is ready when started.
	Grace time.Duration // Between SIGTERM and SIGKILL in Stop; 10s.
}

// Process is a program under the test's control. It may be stopped and started again; its log goes
// on. Its methods may be called concurrently but Start, Stop and Kill must not overlap.
type Process struct {
	opts ProcessOptions
	t    testing.TB
	log  string

	mu   sync.Mutex // Guards what follows.
	cmd  *exec.Cmd
	done chan struct{} // Closed when cmd has ended and was waited for.
	err  error
}

// Start starts a program and waits until it is ready. It is stopped when the test ends; if the test
// has failed, the end of its log is shown. The whole log is in the test's artifacts (go test
// -artifacts).
func Start(t testing.TB, opts ProcessOptions) *Process {
	t.Helper()
	if opts.Grace == 0 {
		opts.Grace = 10 * time.Second
	}
	p := &Process{opts: opts, t: t, log: filepath.Join(t.ArtifactDir(), opts.Name+".log")}
	t.Cleanup(func() {
		p.end(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("the end of %s's log:\n%s", opts.Name, p.tail(15))
		}
	})
	p.Start()
	return p
}

// Start starts the program again after Stop or Kill, and waits until it is ready.
func (p *Process) Start() {
	p.t.Helper()
	if p.Running() {
		p.t.Fatalf("testbed: start %s: it runs already", p.opts.Name)
	}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		p.t.Fatalf("testbed: start %s: %v", p.opts.Name, err)
	}
	if p.opts.Ready == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if err := poll(ctx, p.Done(), p.opts.Ready); err != nil {
		p.t.Fatalf("testbed: wait for %s: %v", p.opts.Name, err)
	}
}

// run starts the program and stays until it has ended. It keeps its thread for as long, because the
// kernel sends the parent-death signal when the thread that started the child ends, not the
// process.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		started <- err
		return
	}
	cmd := exec.Command(p.opts.Path, p.opts.Args...)
	cmd.Dir = p.opts.Dir
	if cmd.Dir == "" {
		cmd.Dir = filepath.Dir(p.log)
	}
	cmd.Env = append(os.Environ(), p.opts.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	dieWithParent(cmd)
	if err := cmd.Start(); err != nil {
		_ = log.Close() // Nothing was written to it.
		started <- err
		return
	}
	done := make(chan struct{})
	p.mu.Lock()
	p.cmd, p.done, p.err = cmd, done, nil
	p.mu.Unlock()
	started <- nil
	err = cmd.Wait()
	if closed := log.Close(); err == nil {
		err = closed
	}
	p.mu.Lock()
	p.err = err
	p.mu.Unlock()
	close(done)
}

// Stop asks the program to end, waits, and kills it if it has not ended within its grace (10s).
func (p *Process) Stop() { p.end(syscall.SIGTERM) }

// Kill ends the program as kill -9 does and waits until it is gone.
func (p *Process) Kill() { p.end(syscall.SIGKILL) }

// Signal sends a signal to the program, for instance syscall.SIGHUP.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.signal(s); err != nil {
		p.t.Fatalf("testbed: signal %s: %v", p.opts.Name, err)
	}
}

func (p *Process) signal(s os.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return os.ErrProcessDone
	}
	return p.cmd.Process.Signal(s)
}

// end sends s and waits. An error of signal means that the program has ended already, which is what
// is wanted.
func (p *Process) end(s os.Signal) {
	done := p.Done()
	_ = p.signal(s)
	select {
	case <-done:
	case <-time.After(p.opts.Grace):
		p.t.Logf("testbed: %s did not end on %v within %v", p.opts.Name, s, p.opts.Grace)
		_ = p.signal(syscall.SIGKILL)
		<-done
	}
}

// Done is closed when the program, as started last, has ended.
func (p *Process) Done() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.done == nil {
		never := make(chan struct{})
		close(never)
		return never
	}
	return p.done
}

// Running says whether the program runs.
func (p *Process) Running() bool {
	select {
	case <-p.Done():
		return false
	default:
		return true
	}
}

// Err returns how the program ended: nil for status 0, else what exec.Cmd's Wait returned. It is
// nil while it runs.
func (p *Process) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// PID returns the process's number, for reading its memory from /proc.
func (p *Process) PID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// Log returns everything that the program has printed.
func (p *Process) Log() string {
	p.t.Helper()
	text, err := os.ReadFile(p.log)
	if err != nil {
		p.t.Fatalf("testbed: read the log of %s: %v", p.opts.Name, err)
	}
	return string(text)
}

func (p *Process) tail(lines int) string {
	text, err := os.ReadFile(p.log)
	if err != nil {
		return fmt.Sprint(err)
	}
	all := strings.Split(string(bytes.TrimSpace(text)), "\n")
	all = all[max(0, len(all)-lines):]
	for i, line := range all {
		all[i] = line[:min(len(line), 300)]
	}
	return strings.Join(all, "\n")
}
