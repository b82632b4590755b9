//go:build linux

package command

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// openTerminal gives both ends of a terminal: the keyboard and screen, and what a program sees.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { person.Close() })
	var unlocked, number int32
	for request, value := range map[uintptr]*int32{syscall.TIOCSPTLCK: &unlocked, syscall.TIOCGPTN: &number} {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), request, uintptr(unsafe.Pointer(value))); errno != 0 {
			t.Fatal(errno)
		}
	}
	program, err = os.OpenFile("/dev/pts/"+strconv.Itoa(int(number)), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

// screen is what a program prints, safe to look at while it runs.
type screen struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func TestUsersAskOnTheTerminal(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, first, again string
		says               string
	}{
		{"same twice", "correct-horse-1", "correct-horse-1", "added ada@example.com with id 1"},
		{"differ", "correct-horse-1", "correct-horse-2", "differ"},
		{"too short", "short", "", "too short"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			person, program := openTerminal(t)
			printed := &screen{}
			cmd := newUsersCommand()
			cmd.SilenceErrors, cmd.SilenceUsage = true, true
			cmd.SetOut(printed)
			cmd.SetErr(printed)
			cmd.SetIn(program)
			cmd.SetArgs([]string{"add", "--email", "ada@example.com", "--file", filepath.Join(t.TempDir(), "users.yaml")})
			done := make(chan error, 1)
			go func() { done <- cmd.ExecuteContext(t.Context()) }()
			answer(t, person, printed, "Password: ", tt.first)
			if tt.again != "" {
				answer(t, person, printed, "Again: ", tt.again)
			}
			err := <-done
			if said := printed.String(); err != nil && !strings.Contains(err.Error(), tt.says) || err == nil && !strings.Contains(said, tt.says) {
				t.Errorf("printed %q, error %v, want %q", said, err, tt.says)
			}
			if echoed := readScreen(t, person); strings.Contains(echoed, "horse") || strings.Contains(printed.String(), "horse") {
				t.Errorf("the password was shown: %q", echoed)
			}
		})
	}
}

// answer types a line once the program has asked and stopped echoing.
func answer(t *testing.T, person *os.File, printed *screen, prompt, line string) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var mode syscall.Termios
		_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, person.Fd(), syscall.TCGETS, uintptr(unsafe.Pointer(&mode)))
		if errno == 0 && mode.Lflag&syscall.ECHO == 0 && strings.HasSuffix(printed.String(), prompt) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("no %q without echo, only %q", prompt, printed.String())
		}
	}
	if _, err := person.WriteString(line + "\n"); err != nil {
		t.Fatal(err)
	}
}

// readScreen gives what the terminal itself has shown.
func readScreen(t *testing.T, person *os.File) string {
	t.Helper()
	fd := int(person.Fd())
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	n, err := syscall.Read(fd, buf)
	if err != nil && err != syscall.EAGAIN {
		t.Fatal(err)
	}
	return string(buf[:max(n, 0)])
}
