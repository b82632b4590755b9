package testpostgres

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testserver"
)

// process is the running server: the postmaster and the processes it has for each connection.
type process struct{ *testserver.Process }

// command runs a program as the user postgres when we are root, which PostgreSQL refuses to run as.
func command(dir, program string, args ...string) *exec.Cmd {
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: credential()}
	return cmd
}

func credential() *syscall.Credential {
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil
	}
	uid, _ := strconv.ParseUint(u.Uid, 10, 32)
	gid, _ := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// all gives the postmaster first and then its children.
func (p *process) all() []int {
	pids := []int{p.Pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[0]))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// halt stops the postmaster before it lists the children, so that none is added meanwhile.
func (p *process) halt(t testing.TB) {
	t.Helper()
	if err := p.freeze(); err != nil {
		t.Fatal(err)
	}
	for _, pid := range p.all()[1:] {
		syscall.Kill(pid, syscall.SIGSTOP)
	}
}

// freeze returns when the postmaster has stopped, which is a moment after the signal.
func (p *process) freeze() error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	until(func() bool { return state(p.Pid) != 'R' && state(p.Pid) != 'S' })
	return nil
}

// state is the letter by which the kernel tells what a process does: R and S for one that lives, T stopped,
// Z dead and not yet asked about; 0 when there is none.
func state(pid int) byte {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// pid (name) state: the name may hold anything.
	if i := strings.LastIndexByte(string(text), ')'); i >= 0 && i+2 < len(text) {
		return text[i+2]
	}
	return 0
}

func until(done func() bool) {
	for deadline := time.Now().Add(testserver.Patience); !done() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
}

func (p *process) resume(t testing.TB) {
	t.Helper()
	for _, pid := range p.all() {
		// Children end by themselves as soon as the postmaster goes on.
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil && (pid == p.Pid || err != syscall.ESRCH) {
			t.Errorf("process %d does not go on: %v", pid, err)
		}
	}
}

// kill ends every process at once. The children would end by themselves soon after the postmaster,
// but until then no new one starts on the same data.
func (p *process) kill() {
	p.freeze()
	pids := p.all()
	for _, pid := range pids {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.Done
	for _, pid := range pids[1:] {
		until(func() bool { s := state(pid); return s == 0 || s == 'Z' })
	}
}

// quit asks for an immediate shutdown, and kills what does not heed it.
func (p *process) quit() {
	for _, pid := range p.all() {
		syscall.Kill(pid, syscall.SIGCONT)
	}
	p.Signal(syscall.SIGQUIT)
	select {
	case <-p.Done:
	case <-time.After(testserver.Patience):
		p.kill()
	}
}

// removeMemory frees the small piece of System V shared memory that a killed server leaves behind,
// of which the kernel has only so many.
func (s *Server) removeMemory() {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return
	}
	if fields := strings.Fields(lines[6]); len(fields) == 2 {
		if id, err := strconv.Atoi(fields[1]); err == nil {
			syscall.Syscall(syscall.SYS_SHMCTL, uintptr(id), 0 /* IPC_RMID */, 0)
		}
	}
}
