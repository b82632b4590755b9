package abuse

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// attackVariable tells this binary to be an attacker, and which.
const attackVariable = "GATEHOUSE_ABUSE_ATTACK"

// attack is what an attacker is told.
type attack struct {
	Kind      string // of attacks, or of floods
	Addr      string
	Count     int
	Parallel  int // at once
	PerSecond int // how many begin in a second; 0: each as soon as one before it has its answer
	From      int // the number of the first, so that the next attack comes from elsewhere and names others
}

// attacks are those that need nothing but bytes: how one connection is made of a number.
var attacks = map[string]func(a attack, i int) []byte{
	"login":   loginAttempt,
	"headers": manyHeaders,
}

// outcome counts what attackers were answered: by status, "closed" without one, "refused" without a connection.
type outcome map[string]int

func attackAsTold(told string) int {
	var a attack
	err := json.Unmarshal([]byte(told), &a)
	f, isFlood := floodNamed(a.Kind)
	if err != nil || !isFlood && attacks[a.Kind] == nil {
		fmt.Fprintf(os.Stderr, "no such attack: %s\n", told)
		return 2
	}
	run := a.run
	if isFlood {
		run = func() outcome { return f.run(a.Addr, a.Count, a.Parallel) }
	}
	counts, err := json.Marshal(run())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(string(counts))
	return 0
}

// run attacks over a connection for each of Count.
func (a attack) run() outcome {
	var (
		mu   sync.Mutex
		all  = outcome{}
		next atomic.Int64
		wg   sync.WaitGroup
	)
	began := time.Now()
	for range a.Parallel {
		wg.Go(func() {
			buf := make([]byte, 4096)
			for i := int(next.Add(1)); i <= a.Count; i = int(next.Add(1)) {
				if a.PerSecond > 0 {
					time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(a.PerSecond))))
				}
				answer := a.once(a.From+i, buf)
				mu.Lock()
				all[answer]++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return all
}

func (a attack) once(i int, buf []byte) string {
	from := net.Dialer{LocalAddr: somewhere(uint32(i)), Timeout: 30 * time.Second}
	conn, err := from.Dial("tcp", a.Addr)
	if err != nil {
		return "refused"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(60 * time.Second))
	// What the gateway has heard enough of it stops reading: the answer may be there all the same.
	_, _ = conn.Write(attacks[a.Kind](a, i))
	n, err := io.ReadFull(conn, buf[:len("HTTP/1.1 200")])
	if err != nil {
		return "closed"
	}
	status := string(buf[n-3 : n])
	for err == nil {
		_, err = conn.Read(buf)
	}
	return status
}

// loginAttempt is a login with a name and a password of its own.
func loginAttempt(a attack, i int) []byte {
	body := fmt.Sprintf("account=nobody-%d%%40example.com&password=guess-%d", i, i)
	return fmt.Appendf(nil, "POST /login HTTP/1.1\r\nHost: %s\r\nOrigin: http://%s\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		a.Addr, a.Addr, len(body), body)
}

// manyHeaders is a request with 20,000 lines.
func manyHeaders(a attack, i int) []byte {
	var out bytes.Buffer
	fmt.Fprintf(&out, "GET /page?%d HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n", i, a.Addr)
	for line := range 20_000 {
		fmt.Fprintf(&out, "X-%d: v\r\n", line)
	}
	return append(out.Bytes(), "\r\n"...)
}

// start begins the attack in a process of its own, at the lowest priority.
func (a attack) start(t *testing.T) (wait func() outcome) {
	t.Helper()
	told, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nice", "-n", "19", os.Args[0])
	cmd.Env = append(os.Environ(), attackVariable+"="+string(told))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() outcome {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Fatalf("the attacker: %v\n%s", err, errs.String())
		}
		all := outcome{}
		if err := json.Unmarshal(out.Bytes(), &all); err != nil {
			t.Fatalf("the attacker said %q: %v", strings.TrimSpace(out.String()), err)
		}
		return all
	}
}

func (o outcome) add(more outcome) {
	for what, n := range more {
		o[what] += n
	}
}
