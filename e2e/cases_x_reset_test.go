package e2e

import (
	"bufio"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// maxAtOnce is what a connection of HTTP/2 may have open at once.
const maxAtOnce = 100

// rapidReset (X12, CVE-2023-44487): requests that are taken back at once cost the client nothing.
func rapidReset(t *testing.T, s *setup) {
	const resets = 20_000
	var running, most, all atomic.Int64
	app := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		all.Add(1)
		for n, old := running.Add(1), most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
		}
		defer running.Add(-1)
		if r.URL.Path != "/public/quick" {
			select {
			case <-r.Context().Done():
			case <-time.After(20 * time.Second):
			}
		}
	}))
	sp := ownSpace(t)
	g := s.start(t, baseConfig(app, sp.section()), withUsers())
	heap := func() int { return metricSum(t, "go_memstats_heap_inuse_bytes", g) }
	goroutines := func() int { return metricSum(t, "go_goroutines", g) }
	heapBefore, goroutinesBefore, asked := heap(), goroutines(), sp.commands(t)
	began, connections, heapMost := time.Now(), 0, 0
	for sent := 0; sent < resets; connections++ {
		if connections > 500 {
			t.Fatalf("%d resets took more than 500 connections", sent)
		}
		c := dialH2(t, g)
		out := bufio.NewWriterSize(c.conn, 64<<10) // as fast as an attacker would
		write := http2.NewFramer(out, nil)
		ended := make(chan struct{})
		go func() { // GOAWAY comes in the middle
			defer close(ended)
			for c.over == nil {
				c.pump()
			}
		}()
		header := h2Header("GET", "/account", g.addr, []string{"Cookie: gatehouse=" + tagOf("2") + ".short"})
		public := h2Header("GET", "/public/hang", g.addr, []string{"Cookie: gatehouse=" + tagOf("2") + ".short"})
		for id, err := uint32(1), error(nil); err == nil && sent < resets; id, sent = id+2, sent+1 {
			c.block.Reset()
			for _, f := range [][]field{header, public}[sent%2] {
				_ = c.encoder.WriteField(f)
			}
			err = write.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.block.Bytes(), EndStream: true, EndHeaders: true})
			if err == nil {
				err = write.WriteRSTStream(id, http2.ErrCodeCancel)
			}
		}
		_ = out.Flush()
		if connections%10 == 0 {
			heapMost = max(heapMost, heap())
		}
		_ = c.conn.Close()
		<-ended
	}
	heapMost = max(heapMost, heap())
	t.Logf("%d resets over %d connections in %v: the heap in use grew by %d KiB at most; of %d requests that reached the app %d ran at once",
		resets, connections, time.Since(began).Round(time.Millisecond), (heapMost-heapBefore)>>10, all.Load(), most.Load())
	if heapMost-heapBefore > 64<<20 {
		t.Errorf("the heap in use grew by %d MiB", (heapMost-heapBefore)>>20)
	}
	if n := most.Load(); n > 2*maxAtOnce || all.Load() > resets/2 {
		t.Errorf("%d requests at once reached the app, %d in all", n, all.Load())
	}
	if got := sp.since(t, asked); len(got) != 0 {
		t.Errorf("tokens of the wrong form made the gateway ask Redis: %v", got)
	}
	manyAtOnce(t, s, g, &running, &most)
	eventually(t, "nothing to be left", func() bool { return running.Load() == 0 && goroutines() < goroutinesBefore+50 })
	if got := s.one(t, g, "GET /public/quick"); got.StatusCode != 200 {
		t.Errorf("afterwards: %s", got.Status)
	}
}

// manyAtOnce: requests that are not reset are as bounded, and those that are make room for no more than were open.
func manyAtOnce(t *testing.T, s *setup, g *gateway, running, most *atomic.Int64) {
	t.Helper()
	eventually(t, "the app to notice that the last ones are gone", func() bool { return running.Load() == 0 })
	c := dialH2(t, g)
	if got := c.settings[http2.SettingMaxConcurrentStreams]; got != maxAtOnce {
		t.Errorf("%d streams at once are announced", got)
	}
	for wave := range 3 {
		var open []*h2stream
		for range 3 * maxAtOnce {
			open = append(open, c.open(true, h2Header("GET", "/public/hang", g.addr, nil)...))
		}
		eventually(t, "requests to reach the app", func() bool { return running.Load() >= maxAtOnce })
		refused := 0
		for _, stream := range open[maxAtOnce:] {
			if got := stream.answer(); strings.Contains(got.Status, "REFUSED_STREAM") || strings.Contains(got.Status, "PROTOCOL_ERROR") || strings.Contains(got.Status, "ENHANCE_YOUR_CALM") {
				refused++
			}
		}
		if refused != 2*maxAtOnce {
			t.Errorf("wave %d: %d of %d requests too many were refused", wave, refused, 2*maxAtOnce)
		}
		for _, stream := range open[:maxAtOnce] {
			stream.reset()
		}
		eventually(t, "the requests of the wave to end", func() bool { return running.Load() == 0 })
	}
	// The application notices a moment later that a request is over.
	if n := most.Load(); n > 2*maxAtOnce {
		t.Errorf("%d requests of one connection ran at once", n)
	}
}
