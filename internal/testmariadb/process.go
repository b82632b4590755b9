package testmariadb

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
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

func initialize(folder string) error {
	args := []string{
		"--no-defaults", "--datadir=" + filepath.Join(folder, "data"), "--auth-root-authentication-method=normal", "--skip-test-db",
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
