package abuse

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// bounds are what an attack may cost the gateway.
type bounds struct {
	memory float64       // MiB above what it took before
	after  time.Duration // until descriptors and goroutines are what they were
}

// endure measures ordinary clients before and during an attack, and what the gateway takes: at most, and afterwards.
func endure(t *testing.T, name string, g *gateway, w *witnesses, b bounds, attack func()) {
	t.Helper()
	slack := float64(20 + w.n) // connections to the application come and go, one for each client at most
	before := g.use(t)
	calm := w.measure(func() { time.Sleep(size(time.Second, 5*time.Second)) })
	g.forgetPeak(t)
	began := time.Now()
	under := w.measure(attack)
	took := time.Since(began)
	during := g.use(t)
	if during.peak > before.rss+b.memory {
		t.Errorf("%s: memory was %.0f MiB at most, %.0f before", name, during.peak, before.rss)
	}
	ended := time.Now()
	after := during
	for end := ended.Add(b.after); after.descriptors > before.descriptors+slack || after.goroutines > before.goroutines+3*slack; after = g.use(t) {
		if time.Now().After(end) {
			t.Errorf("%s: %v afterwards there are %.0f descriptors and %.0f goroutines, before there were %.0f and %.0f",
				name, b.after, after.descriptors, after.goroutines, before.descriptors, before.goroutines)
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Logf("| %s | %.1f s | %.1f ms | %.1f ms | %.1f | %.0f → %.0f MiB | %.0f → %.0f → %.0f | %.1f s |", name, took.Seconds(), ms(calm.at(0.99)), ms(under.at(0.99)),
		timesAsSlow([]*window{calm}, []*window{under}), before.rss, during.peak, before.descriptors, during.descriptors, after.descriptors, time.Since(ended).Seconds())
}

// forgetPeak has the kernel begin anew with the most memory the gateway has taken.
func (g *gateway) forgetPeak(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", g.pid), []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// children gives the processes that a process has started.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		var child, parent int
		var state string
		fmt.Sscan(e.Name(), &child)
		_, rest, _ := strings.Cut(string(text), ") ")
		if fmt.Sscan(rest, &state, &parent); parent == pid && state != "Z" {
			pids = append(pids, child)
		}
	}
	return pids
}
