package testmariadb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// logFileSize must be the same when the data are made and when they are served.
const logFileSize = "4M"

// process is the running server.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func begin(program, logPath string, args []string) (*process, error) {
	logFile, err := os.OpenFile(logPath, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer logFile.Close()
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	// The server must not outlive a test binary that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// await returns when ping succeeds.
func (p *process) await(ping func() error) error {
	deadline := time.Now().Add(patience)
	for {
		err := ping()
		if err == nil {
			return nil
		}
		select {
		case <-p.done:
			return errors.New("it ended by itself")
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("it does not answer: %w", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.done
}

// Making a server's first data takes a second or more, copying them a tenth: each test binary makes
// them once, and they go with the last server, or with Main.
var template struct {
	sync.Mutex
	folder string
	users  int
}

// useTemplate gives the folder to copy, until release is called.
func useTemplate(t testing.TB) (folder string, release func()) {
	t.Helper()
	template.Lock()
	defer template.Unlock()
	if template.folder == "" {
		folder, err := os.MkdirTemp("", "testmariadb")
		if err != nil {
			t.Fatal(err)
		}
		if err := initialize(filepath.Join(folder, "data")); err != nil {
			os.RemoveAll(folder)
			t.Fatal(err)
		}
		template.folder = folder
	}
	template.users++
	return filepath.Join(template.folder, "data"), releaseTemplate
}

func releaseTemplate() {
	template.Lock()
	defer template.Unlock()
	template.users--
	if template.users == 0 && template.folder != "" {
		os.RemoveAll(template.folder)
		template.folder = ""
	}
}

func initialize(data string) error {
	args := []string{
		"--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal", "--skip-test-db",
		"--innodb-log-file-size=" + logFileSize, "--innodb-flush-method=nosync",
	}
	if os.Getuid() == 0 {
		args = append(args, "--user=root")
	}
	if out, err := exec.Command(program("mariadb-install-db"), args...).CombinedOutput(); err != nil {
		return fmt.Errorf("mariadb-install-db: %w\n%s", err, out)
	}
	return nil
}

func copyFolder(from, to string) error {
	if out, err := exec.Command("cp", "-a", "--reflink=auto", from, to).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot copy the template: %w\n%s", err, out)
	}
	return nil
}
