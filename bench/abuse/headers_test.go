package abuse

import (
	"testing"
	"time"
)

// TestHeaderLines: requests with 20,000 lines of header are refused at a bounded cost (X07).
func TestHeaderLines(t *testing.T) {
	t.Parallel()
	n := size(40, 1000)
	app := startApp(t)
	g := setup{app: app.url}.start(t)
	w := watch(t, g, visitors(g, size(10, 100)))
	answers := outcome{}
	endure(t, "20,000 header lines", g, w, bounds{memory: 150, after: 20 * time.Second}, func() {
		answers = attack{Kind: "headers", Addr: g.addr, Count: n, Parallel: 20}.start(t)()
	})
	// A client that is still sending when the gateway has heard enough may find the connection reset before it reads.
	if answers["431"]+answers["closed"] != n || answers["431"] == 0 {
		t.Errorf("%v, want 431 %d times", answers, n)
	}
	t.Logf("answers %v", answers)
}
