package abuse

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// witnesses are ordinary clients that go on while somebody attacks: each has a connection and asks at its own pace.
// They write bytes that were made beforehand and read with little ado, so that what they measure is the gateway.
type witnesses struct {
	t      *testing.T
	n      int
	stop   chan struct{}
	all    sync.WaitGroup
	window atomic.Pointer[window]
}

// window gathers what was measured in a stretch of time.
type window struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []string
}

// witness is one of them.
type witness struct {
	request string
	seen    string // what the application must have seen as X-User-Id
}

// askedEvery is each witness's pace.
const askedEvery = 250 * time.Millisecond

// watch starts witnesses, which go on until the test ends. It returns when each has asked.
func watch(t *testing.T, g *gateway, all []witness) *witnesses {
	t.Helper()
	w := &witnesses{t: t, n: len(all), stop: make(chan struct{})}
	for i, one := range all {
		w.all.Go(func() { w.ask(g, one, askedEvery*time.Duration(i)/time.Duration(len(all))) })
	}
	t.Cleanup(func() {
		close(w.stop)
		w.all.Wait()
	})
	time.Sleep(2 * askedEvery)
	return w
}

// visitors are n witnesses of a public path.
func visitors(g *gateway, n int) []witness {
	return slices.Repeat([]witness{{request: "GET /page HTTP/1.1\r\nHost: " + g.addr + "\r\n\r\n"}}, n)
}

// measure gathers for as long as f runs.
func (w *witnesses) measure(f func()) *window {
	in := new(window)
	w.window.Store(in)
	f()
	w.window.Store(nil)
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.failed) > 0 {
		w.t.Errorf("%d of %d requests of ordinary clients failed: %s", len(in.failed), len(in.took)+len(in.failed), in.failed[0])
	}
	if len(in.took) == 0 {
		w.t.Error("nobody was measured: this shows nothing")
	}
	slices.Sort(in.took)
	return &window{took: in.took, failed: in.failed}
}

// at gives the time that p of the requests did not exceed.
func (in *window) at(p float64) time.Duration {
	if len(in.took) == 0 {
		return 0
	}
	return in.took[min(int(float64(len(in.took))*p), len(in.took)-1)]
}

func (in *window) String() string {
	return fmt.Sprintf("%d requests, median %.2f ms, p99 %.2f ms, longest %.1f ms", len(in.took), ms(in.at(0.5)), ms(in.at(0.99)), ms(in.at(1)))
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func (w *witnesses) ask(g *gateway, one witness, first time.Duration) {
	var conn net.Conn
	var answers *bufio.Reader
	defer func() {
		if conn != nil {
			conn.Close()
		}
	}()
	tick := time.NewTimer(first)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			tick.Reset(askedEvery)
		}
		var err error
		if conn == nil {
			if conn, err = dial(g); err != nil {
				w.note(0, err)
				continue
			}
			answers = bufio.NewReader(conn)
		}
		began := time.Now()
		err = one.once(conn, answers)
		w.note(time.Since(began), err)
		if err != nil {
			conn.Close()
			conn = nil
		}
	}
}

func (w *witnesses) note(took time.Duration, err error) {
	in := w.window.Load()
	if in == nil {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if err != nil {
		in.failed = append(in.failed, err.Error())
		return
	}
	in.took = append(in.took, took)
}

func dial(g *gateway) (net.Conn, error) {
	if strings.HasPrefix(g.url, "https:") {
		return tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true})
	}
	return net.Dial("tcp", g.addr)
}

func (one witness) once(conn net.Conn, answers *bufio.Reader) error {
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(conn, one.request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(answers, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("X-Seen") != one.seen {
		return fmt.Errorf("answered %s, seen as %q, not %q", resp.Status, resp.Header.Get("X-Seen"), one.seen)
	}
	return nil
}

// timesAsSlow compares p99 while something went on with p99 before, as the medians of several windows: a machine that
// does other things as well has moments of its own.
func timesAsSlow(calm, under []*window) float64 {
	p99 := func(all []*window) float64 {
		var each []float64
		for _, in := range all {
			each = append(each, ms(in.at(0.99)))
		}
		slices.Sort(each)
		return each[len(each)/2]
	}
	return p99(under) / p99(calm)
}
