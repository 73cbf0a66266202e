package testbed

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the kernel kill the child when the test binary dies, so that a killed test
// leaves nothing. The child gets a process group of its own: Ctrl-C reaches the test alone, which
// then ends its children in order.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
