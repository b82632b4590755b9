package sessions

import (
	"bufio"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"gatehouse/telemetry"
)

// operation is how long one takes, in nanoseconds, and how many there are in a second.
type operation struct {
	PerSecond, P50, P99 float64
}

// time calls f n times, by so many callers at once, and notes each call's time under a name.
func (b *bench) time(name string, n, callers int, f func(i int) error) error {
	var next atomic.Int64
	var mu sync.Mutex
	var all []time.Duration
	var failed error
	var wg sync.WaitGroup
	start := time.Now()
	for range callers {
		wg.Go(func() {
			took := make([]time.Duration, 0, n/callers+1)
			var err error
			for err == nil {
				i := int(next.Add(1)) - 1
				if i >= n {
					break
				}
				began := time.Now()
				err = f(i)
				took = append(took, time.Since(began))
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, took...)
			if err != nil {
				failed = fmt.Errorf("%s: %w", name, err)
			}
		})
	}
	wg.Wait()
	whole := time.Since(start)
	if len(all) == 0 {
		return failed
	}
	slices.Sort(all)
	at := func(percent int) float64 { return float64(all[min(len(all)*percent/100, len(all)-1)].Nanoseconds()) }
	b.Operations[name] = operation{PerSecond: float64(len(all)) / whole.Seconds(), P50: at(50), P99: at(99)}
	return failed
}

// best gives nanoseconds and allocations of one call, in the best of many short runs: what else runs on the
// machine makes some of them slower, and none faster.
func best(f func()) (nanoseconds, allocs float64) {
	const runs, calls = 100, 2000
	for range calls {
		f()
	}
	nanoseconds = 1e12
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		start := time.Now()
		for range calls {
			f()
		}
		nanoseconds = min(nanoseconds, float64(time.Since(start).Nanoseconds())/calls)
	}
	runtime.ReadMemStats(&after)
	return nanoseconds, float64(after.Mallocs-before.Mallocs) / (runs * calls)
}

func cores() int { return runtime.GOMAXPROCS(0) }

// memory gives the bytes that are alive on the heap, and what the system counts for this process as it is.
func memory() (heap, rss int) {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(text)); err == nil && len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1])
		rss = pages * os.Getpagesize()
	}
	return int(m.HeapAlloc), rss
}

// redisMemory is the server's used_memory.
func (b *bench) redisMemory() (int, error) {
	c, err := bareClient(b.addr)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	info, err := c.Do(context.Background(), c.B().Info().Section("memory").Build()).ToString()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.Atoi(strings.TrimSpace(value))
		}
	}
	return 0, fmt.Errorf("Redis does not tell its used_memory")
}

// cacheBytes is what the replica's metrics say that it keeps.
func cacheBytes(m *telemetry.Metrics) (sum int) {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for lines := bufio.NewScanner(w.Body); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), "gatehouse_session_cache_bytes{"); ok {
			_, value, _ := strings.Cut(rest, " ")
			f, _ := strconv.ParseFloat(value, 64)
			sum += int(f)
		}
	}
	return sum
}
