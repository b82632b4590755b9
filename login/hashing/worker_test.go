package hashing

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/login/password"
)

// roleVariable makes this binary the process that is tested.
const roleVariable = "GATEHOUSE_TEST_HASHING"

func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case "serve":
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "end":
	default:
		os.Exit(m.Run())
	}
}

func self(role string) func() *exec.Cmd {
	return func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env, cmd.Stderr = []string{roleVariable + "=" + role}, os.Stderr
		return cmd
	}
}

func newWorker(t *testing.T, command func() *exec.Cmd) *Worker {
	t.Helper()
	w := New(command, zerolog.Nop())
	t.Cleanup(func() { w.Close() })
	return w
}

func cheap(t *testing.T, typed string) password.Hash {
	t.Helper()
	text, err := bcrypt.GenerateFromPassword([]byte(typed), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	h, err := password.Parse(string(text))
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// check holds what is answered against what is so.
func check(t *testing.T, w *Worker) {
	t.Helper()
	const odd = "caf\xe9\x00\r\n"
	for _, typed := range []string{"secret", "", odd, "日本"} {
		h := cheap(t, typed)
		if !w.Matches(h, typed) || w.Matches(h, typed+"x") || w.Matches(h.Decoy(), typed) || w.Matches(password.Hash{}, typed) {
			t.Errorf("%q: right %v, wrong %v, decoy %v", typed, w.Matches(h, typed), w.Matches(h, typed+"x"), w.Matches(h.Decoy(), typed))
		}
	}
}

// checkNew does the same for what takes its time.
func checkNew(t *testing.T, w *Worker) {
	t.Helper()
	const odd = "caf\xe9\x00\r\n"
	if w.Matches(password.Hash{}.Decoy(), "") {
		t.Error("a decoy matches")
	}
	h, err := password.Parse(w.Hash(odd))
	if err != nil || !h.Matches(odd) || h.Weak() {
		t.Errorf("a new hash: %v, %v", h, err)
	}
}

func (w *Worker) pid() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.process == nil {
		return 0
	}
	return w.process.cmd.Process.Pid
}

func TestAnswersAreThoseOfTheHash(t *testing.T) {
	t.Parallel()
	t.Run("by the process", func(t *testing.T) {
		t.Parallel()
		w := newWorker(t, self("serve"))
		check(t, w)
		checkNew(t, w)
		pid := w.pid()
		if pid == 0 {
			t.Fatal("there is no process")
		}
		w.Close()
		if err := syscall.Kill(pid, 0); err == nil {
			t.Error("the process is still there after Close")
		}
		check(t, w)
		if w.pid() != 0 {
			t.Error("it was started again after Close")
		}
	})
	t.Run("by a process that ends at once", func(t *testing.T) {
		t.Parallel()
		check(t, newWorker(t, self("end")))
	})
	t.Run("without a process", func(t *testing.T) {
		t.Parallel()
		check(t, newWorker(t, func() *exec.Cmd { return exec.Command(filepath.Join(t.TempDir(), "nothing")) }))
	})
	t.Run("with none wanted", func(t *testing.T) {
		t.Parallel()
		check(t, nil)
		check(t, new(Worker))
		checkNew(t, nil)
	})
}

// All threads, or the ones that hash may be among the others.
func TestLowPriority(t *testing.T) {
	t.Parallel()
	w, h := newWorker(t, self("serve")), cheap(t, "secret")
	var all sync.WaitGroup
	for range 50 { // until there are threads for it
		all.Go(func() { w.Matches(h, "secret") })
	}
	all.Wait()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", w.pid()))
	if err != nil || len(threads) < 2 {
		t.Fatalf("threads %q, %v", threads, err)
	}
	own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := max(lowPriority, 20-own) // the system call gives 20 less the priority
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		if got := strings.Fields(rest)[16]; got != fmt.Sprint(want) {
			t.Errorf("%s has priority %s, want %d", thread, got, want)
		}
	}
}

// A process that is killed takes nobody's login with it, and there is another.
func TestKilled(t *testing.T) {
	t.Parallel()
	w := newWorker(t, self("serve"))
	w.every = 0
	right := cheap(t, "secret")
	w.Matches(right, "secret")
	var all sync.WaitGroup
	first := w.pid()
	for range 4 {
		all.Go(func() {
			for range 25 {
				if !w.Matches(right, "secret") {
					t.Error("a right password is wrong")
				}
			}
		})
	}
	syscall.Kill(first, syscall.SIGKILL)
	all.Wait()
	for end := time.Now().Add(20 * time.Second); w.pid() == 0 || w.pid() == first; time.Sleep(time.Millisecond) {
		if w.Matches(right, "secret"); time.Now().After(end) {
			t.Fatal("no other process is started")
		}
	}
}

// Serve ends with its input and says what it cannot read: the asker's end must be its own.
func TestServeEnds(t *testing.T) {
	t.Parallel()
	if err := Serve(strings.NewReader(""), new(strings.Builder)); err != nil {
		t.Errorf("at the end: %v", err)
	}
	if Serve(strings.NewReader("no question"), new(strings.Builder)) == nil {
		t.Error("nonsense is taken for a question")
	}
}
