package hashing

import (
	"os/exec"
	"runtime"
	"syscall"
)

// lowPriority is a tenth of the weight of a request where both want the same core, and all of a core that nobody wants.
const lowPriority = 10

// startLow starts the process at lowPriority, all its threads: a process inherits the priority of the thread that
// starts it. Who has lowered it may not raise it again, so that thread is given up.
func startLow(cmd *exec.Cmd) error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		// It fails when the gateway's own priority is lower already.
		_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, lowPriority)
		started <- cmd.Start()
	}()
	return <-started
}
