package testserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// Patience bounds the waits for a server: starting it, and its end.
const Patience = 20 * time.Second

// Process is a running server.
type Process struct {
	*os.Process
	// Done is closed when it has ended.
	Done chan struct{}
}

// Begin starts a program whose output goes to the end of a log file. It does not outlive the test binary, should that be
// killed.
func Begin(cmd *exec.Cmd, logPath string) (*Process, error) {
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &Process{Process: cmd.Process, Done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.Done)
	}()
	return p, nil
}

// Await returns when ping succeeds, or with why it did not.
func (p *Process) Await(ping func() error) error {
	deadline := time.Now().Add(Patience)
	for {
		err := ping()
		if err == nil {
			return nil
		}
		select {
		case <-p.Done:
			return errors.New("it ended by itself")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// End kills it (SIGKILL) and waits for its end.
func (p *Process) End() {
	p.Process.Kill()
	<-p.Done
}

// SignalOrFail sends a signal.
func (p *Process) SignalOrFail(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if err := p.Process.Signal(sig); err != nil {
		t.Fatalf("signal %v: %v", sig, err)
	}
}

// OnFreePort calls launch with a free port of the loopback interface, and with others if it fails, after end: between
// choosing a port and binding it another program may take it. It gives the last error.
func OnFreePort(t testing.TB, launch func(port int) error, end func()) (err error) {
	t.Helper()
	for range 5 {
		if err = launch(freePort(t)); err == nil {
			return nil
		}
		end()
	}
	return err
}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// Log is what a server has written; why it cannot be read, if it cannot.
func Log(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// CopyFolder keeps owners and modes, which some servers check.
func CopyFolder(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the template: %w\n%s", err, out)
	}
	return nil
}

// MustHang fails unless ask gets no answer from a stopped server, and one when it goes on.
func MustHang(t *testing.T, server interface {
	Stop()
	Cont()
}, ask func()) {
	t.Helper()
	server.Stop()
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		ask()
	}()
	select {
	case <-answered:
		t.Error("a stopped server answered")
	case <-time.After(50 * time.Millisecond):
	}
	server.Cont()
	<-answered
}
