package telemetry_test

import (
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"gatehouse/telemetry"
)

// scrape gives what Prometheus would read.
func scrape(m *telemetry.Metrics) string {
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

// holds fails for each wanted sample ("name{labels} value") that is not among m's own.
func holds(t *testing.T, m *telemetry.Metrics, want ...string) {
	t.Helper()
	lines := map[string]bool{}
	for l := range strings.Lines(scrape(m)) {
		lines[strings.TrimSuffix(l, "\n")] = true
	}
	for _, sample := range want {
		if !lines["gatehouse_"+sample] {
			t.Errorf("no sample gatehouse_%s", sample)
		}
	}
}

// TestEachMetricCounts: one row per metric and thing it counts.
func TestEachMetricCounts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(m *telemetry.Metrics)
		want []string
	}{
		{"requests by rule and class", func(m *telemetry.Metrics) {
			m.Request("/a", 200, time.Millisecond)
			m.Request("/a", 204, time.Millisecond)
			m.Request("/a", 404, time.Millisecond)
			m.Request("default", 503, time.Millisecond)
		}, []string{`requests_total{rule="/a",status="2xx"} 2`, `requests_total{rule="/a",status="4xx"} 1`, `requests_total{rule="default",status="5xx"} 1`}},
		{"durations", func(m *telemetry.Metrics) {
			m.Request("/a", 200, 3*time.Millisecond)
			m.Request("/a", 200, 200*time.Millisecond)
			m.Request("/a", 101, -1)
		}, []string{
			`request_duration_seconds_bucket{rule="/a",le="0.0025"} 0`, `request_duration_seconds_bucket{rule="/a",le="0.005"} 1`,
			`request_duration_seconds_count{rule="/a"} 2`, `request_duration_seconds_sum{rule="/a"} 0.203`, `requests_total{rule="/a",status="1xx"} 1`,
		}},
		{"session finds", func(m *telemetry.Metrics) {
			for _, source := range []string{"cache", "cache", "redis", "known", "none", "corrupt", "unavailable"} {
				m.SessionFind(source)
			}
		}, []string{
			`session_finds_total{source="cache"} 2`, `session_finds_total{source="redis"} 1`, `session_finds_total{source="known"} 1`,
			`session_finds_total{source="none"} 1`, `session_finds_total{source="corrupt"} 1`, `session_finds_total{source="unavailable"} 1`,
		}},
		{"sessions ended", func(m *telemetry.Metrics) {
			m.SessionsEnded("logout", 1)
			m.SessionsEnded("revoked", 7)
			m.SessionsEnded("evicted", 0)
		}, []string{`sessions_ended_total{reason="logout"} 1`, `sessions_ended_total{reason="revoked"} 7`}},
		{"sessions changed", func(m *telemetry.Metrics) { m.SessionsChanged(3); m.SessionsChanged(0); m.SessionsChanged(2) },
			[]string{`sessions_changed_total 5`}},
		{"renewals", func(m *telemetry.Metrics) { m.Renewal("ok"); m.Renewal("gone") },
			[]string{`session_renewals_total{outcome="ok"} 1`, `session_renewals_total{outcome="gone"} 1`}},
		{"refreshes", func(m *telemetry.Metrics) { m.UserRefresh("changed"); m.UserRefresh("gone"); m.UserRefresh("gone") },
			[]string{`user_refreshes_total{outcome="changed"} 1`, `user_refreshes_total{outcome="gone"} 2`}},
		{"logins", func(m *telemetry.Metrics) { m.Login("file", "success"); m.Login("app", "bad_credentials") },
			[]string{`logins_total{backend="file",outcome="success"} 1`, `logins_total{backend="app",outcome="bad_credentials"} 1`}},
		{"limits", func(m *telemetry.Metrics) { m.Limited("address"); m.Limited("address"); m.Limited("body") },
			[]string{`limited_total{limit="address"} 2`, `limited_total{limit="body"} 1`}},
		{"connections refused", func(m *telemetry.Metrics) {
			m.ConnectionRefused("total")
			m.ConnectionRefused("per_address")
			m.ConnectionRefused("total")
		}, []string{`connections_refused_total{limit="total"} 2`, `connections_refused_total{limit="per_address"} 1`}},
		{"open connections", func(m *telemetry.Metrics) { m.OpenConnections(1); m.OpenConnections(1); m.OpenConnections(-1) },
			[]string{`open_connections 1`}},
		{"open streams", func(m *telemetry.Metrics) {
			m.StreamOpened("sse")
			m.StreamOpened("websocket")
			m.StreamOpened("websocket")
			m.StreamClosed("websocket")
			m.StreamClosed("sse")
		}, []string{`open_streams{kind="websocket"} 1`, `open_streams{kind="sse"} 0`}},
		{"outage begins", func(m *telemetry.Metrics) { m.Outage(true); m.Outage(true) },
			[]string{`redis_outage 1`, `redis_outages_total 1`}},
		{"outages end and come back", func(m *telemetry.Metrics) {
			for range 2 {
				m.Outage(true)
				m.Outage(false)
			}
		}, []string{`redis_outage 0`, `redis_outages_total 2`}},
		{"no outage", func(m *telemetry.Metrics) { m.Outage(false) }, []string{`redis_outage 0`, `redis_outages_total 0`}},
		{"database away", func(m *telemetry.Metrics) { m.DatabaseOutage(true) }, []string{`database_outage 1`}},
		{"database back", func(m *telemetry.Metrics) { m.DatabaseOutage(true); m.DatabaseOutage(false) }, []string{`database_outage 0`}},
		{"migration events", func(m *telemetry.Metrics) { m.Migration("imports"); m.Migration("imports") },
			[]string{`migration_events_total{event="imports"} 2`}},
		{"migration state", func(m *telemetry.Metrics) { m.MigrationState("shadow", 0); m.MigrationState("canary", 5) },
			[]string{`migration_state{state="canary"} 1`, `migration_canary_percent 5`}},
		{"revocations pending", func(m *telemetry.Metrics) { m.PendingRevocations(5); m.PendingRevocations(3) }, []string{`revocations_pending 3`}},
		{"cache on", func(m *telemetry.Metrics) { m.SessionCache(true) }, []string{`session_cache_enabled 1`}},
		{"cache fills and empties", func(m *telemetry.Metrics) {
			m.CacheChanged("replies", 700, 2)
			m.CacheChanged("records", 1000, 1)
			m.CacheChanged("replies", -300, -1)
		}, []string{
			`session_cache_bytes{part="replies"} 400`, `session_cache_entries{part="replies"} 1`,
			`session_cache_bytes{part="records"} 1000`, `session_cache_entries{part="records"} 1`,
		}},
		{"cache evicts", func(m *telemetry.Metrics) { m.CacheEvicted("replies", 2); m.CacheEvicted("replies", 1) },
			[]string{`session_cache_evictions_total{part="replies"} 3`}},
		{"cache off", func(m *telemetry.Metrics) { m.SessionCache(true); m.SessionCache(false) }, []string{`session_cache_enabled 0`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			m := telemetry.NewMetrics()
			c.do(m)
			holds(t, m, c.want...)
			var nobody *telemetry.Metrics
			c.do(nobody) // no metrics are wanted: nothing happens
		})
	}
}

func TestNothingCountedMeansNoSeries(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.SessionsEnded("evicted", 0)
	if text := scrape(m); strings.Contains(text, "evicted") {
		t.Error("zero sessions ended made a series")
	}
}

// TestStatusLabelIsBounded: an application can answer with any number; each must not become a series.
func TestStatusLabelIsBounded(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	for status := -200; status < 1200; status++ {
		m.Request("/", status, -1)
	}
	got := 0
	for l := range strings.Lines(scrape(m)) {
		if strings.HasPrefix(l, "gatehouse_requests_total{") {
			got++
		}
	}
	if got != 7 {
		t.Errorf("%d series, want 7", got)
	}
	holds(t, m, `requests_total{rule="/",status="4xx"} 100`, `requests_total{rule="/",status="other"} 800`)
}

func TestMetricsAreWellFormed(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	m.Request("/", 200, time.Second)
	m.Login("file", "success")
	text := scrape(m)
	// testutil reads the text as Prometheus does and lints names, types and helps.
	problems, err := testutil.CollectAndLint(telemetry.Collector(m))
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	for _, name := range []string{"go_goroutines", "process_open_fds"} {
		if !strings.Contains(text, name+" ") {
			t.Errorf("no %s", name)
		}
	}
	if n := testutil.CollectAndCount(telemetry.Collector(m), "gatehouse_logins_total"); n != 1 {
		t.Errorf("%d series of logins, want 1", n)
	}
}

func TestConcurrentCounting(t *testing.T) {
	t.Parallel()
	m := telemetry.NewMetrics()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				m.Request("/", 200, time.Millisecond)
				m.Outage(true)
				m.StreamOpened("sse")
				m.StreamClosed("sse")
			}
		})
	}
	wg.Wait()
	holds(t, m, `requests_total{rule="/",status="2xx"} 4000`, `redis_outages_total 1`, `open_streams{kind="sse"} 0`)
}
