// Package telemetry holds what operators see: logs, audit lines, metrics. It imports no other
// package of Gatehouse.
package telemetry

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics counts what the gateway does. All methods may be called on a nil *Metrics, which
// counts nothing, and by many goroutines at once.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	finds     *prometheus.CounterVec
	hits      prometheus.Counter // of finds, the one each request counts: looking its label up costs more than finding the session
	ended     *prometheus.CounterVec
	changed   prometheus.Counter
	renewals  *prometheus.CounterVec
	refreshes *prometheus.CounterVec
	logins    *prometheus.CounterVec
	limited   *prometheus.CounterVec
	refused   *prometheus.CounterVec
	conns     prometheus.Gauge
	streams   *prometheus.GaugeVec
	outages   prometheus.Counter
	outage    prometheus.Gauge
	pending   prometheus.Gauge
	cache     prometheus.Gauge
	cached    cached
	database  prometheus.Gauge
	migration *prometheus.CounterVec
	state     *prometheus.GaugeVec
	percent   prometheus.Gauge

	away atomic.Bool
}

// NewMetrics makes the metrics in a registry of their own, with Go's and the process's beside them.
func NewMetrics() *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "gatehouse_" + name, Help: help}, labels)
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts{Name: "gatehouse_" + name, Help: help})
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: counter("requests_total", "Requests answered, by rule and class of status.", "rule", "status"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "gatehouse_request_duration_seconds",
			Help:    "Time from a request's header to the end of its answer, by rule. Upgraded connections are not in it.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"rule"}),
		finds:    counter("session_finds_total", "Sessions looked up, by where the answer came from: cache, redis, database, known (its store is away), none, corrupt, unavailable.", "source"),
		ended:    counter("sessions_ended_total", "Sessions ended by this replica, by reason: logout, replaced, evicted, revoked.", "reason"),
		renewals: counter("session_renewals_total", "Sessions renewed, by outcome: ok, gone, conflict, unavailable, dropped.", "outcome"),
		logins:   counter("logins_total", "Logins, by backend and outcome: success, bad_credentials, bad_request, limited, busy, cross_site, too_many_sessions, superseded, unavailable, app_failed.", "backend", "outcome"),
		limited:  counter("limited_total", "Requests refused by a limit, by limit: address, account, hashes (of logins), requests_address, requests_user, body, headers, cookies, uri, admin.", "limit"),
		refused:  counter("connections_refused_total", "Connections of clients closed at once by a limit, by limit: per_address, total.", "limit"),
		conns:    gauge("open_connections", "Connections of clients that are open."),
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatehouse_open_streams", Help: "Open streams, by kind: websocket, sse, grpc, download.",
		}, []string{"kind"}),
		outages: prometheus.NewCounter(prometheus.CounterOpts{Name: "gatehouse_redis_outages_total", Help: "Times Redis was found away."}),
		outage:  gauge("redis_outage", "1 while Redis is away, else 0."),
		pending: gauge("revocations_pending", "Revocations that Redis has not confirmed yet."),
		cache:   gauge("session_cache_enabled", "1 when Redis tells of changes (client tracking) and sessions are cached in memory, 0 when every request asks Redis."),
	}
	m.changed = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "gatehouse_sessions_changed_total", Help: "Sessions in which a user's name, role or email was changed by this replica.",
	})
	m.cached = newCached(m.registry)
	m.hits = m.finds.WithLabelValues("cache")
	m.refreshes = counter("user_refreshes_total", "Users of live sessions read again from the login backend, by outcome: unchanged, changed, gone (their sessions end), held (missing, and not believed), unreadable, unavailable, unwritten.", "outcome")
	m.database = gauge("database_outage", "1 while the application's database is away, else 0.")
	m.migration = counter("migration_events_total", "What happened while sessions move from the database to Redis, by event: database_hits, imports, import_errors, copies, copy_errors, compared, mismatches, without_copy, bad_cookies, errors.", "event")
	m.state = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gatehouse_migration_state", Help: "1 for the state of the migration this replica is in: legacy, shadow, canary, primary, drain, done.",
	}, []string{"state"})
	m.percent = gauge("migration_canary_percent", "The share of the users whose sessions are in Redis in state canary.")
	m.registry.MustRegister(m.database, m.migration, m.state, m.percent, m.requests, m.durations, m.finds, m.ended, m.changed, m.renewals, m.refreshes, m.logins, m.limited, m.refused, m.conns,
		m.streams, m.outages, m.outage, m.pending, m.cache,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus's text format.
func (m *Metrics) Handler() http.Handler {
	if m == nil {
		return http.NotFoundHandler()
	}
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// Request counts one answered request under its rule. A duration below zero is left out of the
// histogram: the life of a WebSocket says nothing about how fast answers are.
func (m *Metrics) Request(rule string, status int, d time.Duration) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(rule, statusClass(status)).Inc()
	if d >= 0 {
		m.durations.WithLabelValues(rule).Observe(d.Seconds())
	}
}

// DatabaseOutage says whether the application's database is away.
func (m *Metrics) DatabaseOutage(away bool) {
	if m == nil {
		return
	}
	m.database.Set(0)
	if away {
		m.database.Set(1)
	}
}

// Migration counts one event of the migration.
func (m *Metrics) Migration(event string) {
	if m != nil {
		m.migration.WithLabelValues(event).Inc()
	}
}

// MigrationState tells the state this replica is in.
func (m *Metrics) MigrationState(state string, percent int) {
	if m == nil {
		return
	}
	m.state.Reset()
	m.state.WithLabelValues(state).Set(1)
	m.percent.Set(float64(percent))
}

// SessionFind counts one look-up of a session.
func (m *Metrics) SessionFind(source string) {
	switch {
	case m == nil:
	case source == "cache":
		m.hits.Inc()
	default:
		m.finds.WithLabelValues(source).Inc()
	}
}

// SessionsEnded counts n sessions ended by this replica.
func (m *Metrics) SessionsEnded(reason string, n int) {
	if m != nil && n > 0 {
		m.ended.WithLabelValues(reason).Add(float64(n))
	}
}

// SessionsChanged counts n sessions in which a user's attributes were changed.
func (m *Metrics) SessionsChanged(n int) {
	if m != nil && n > 0 {
		m.changed.Add(float64(n))
	}
}

// Renewal counts one renewal of a session's time to live.
func (m *Metrics) Renewal(outcome string) {
	if m != nil {
		m.renewals.WithLabelValues(outcome).Inc()
	}
}

// UserRefresh counts one look-up of a session's user in the login backend.
func (m *Metrics) UserRefresh(outcome string) {
	if m != nil {
		m.refreshes.WithLabelValues(outcome).Inc()
	}
}

// Login counts one attempt to log in.
func (m *Metrics) Login(backend, outcome string) {
	if m != nil {
		m.logins.WithLabelValues(backend, outcome).Inc()
	}
}

// Limited counts one request refused by a limit.
func (m *Metrics) Limited(limit string) {
	if m != nil {
		m.limited.WithLabelValues(limit).Inc()
	}
}

// ConnectionRefused counts one connection closed at once by a limit.
func (m *Metrics) ConnectionRefused(limit string) {
	if m != nil {
		m.refused.WithLabelValues(limit).Inc()
	}
}

// OpenConnections counts connections of clients that have begun, or ended when n is below zero.
func (m *Metrics) OpenConnections(n int) {
	if m != nil {
		m.conns.Add(float64(n))
	}
}

// StreamOpened counts a stream that begins; StreamClosed its end.
func (m *Metrics) StreamOpened(kind string) {
	if m != nil {
		m.streams.WithLabelValues(kind).Inc()
	}
}

// StreamClosed counts the end of a stream.
func (m *Metrics) StreamClosed(kind string) {
	if m != nil {
		m.streams.WithLabelValues(kind).Dec()
	}
}

// Outage tells that Redis went away (true) or came back (false). Saying the same again changes
// nothing, so an outage that several callers notice counts once.
func (m *Metrics) Outage(away bool) {
	if m == nil || m.away.Swap(away) == away {
		return
	}
	if away {
		m.outages.Inc()
		m.outage.Set(1)
	} else {
		m.outage.Set(0)
	}
}

// PendingRevocations tells how many revocations wait for Redis.
func (m *Metrics) PendingRevocations(n int) {
	if m != nil {
		m.pending.Set(float64(n))
	}
}

// SessionCache tells whether sessions are cached in memory.
func (m *Metrics) SessionCache(enabled bool) {
	if m == nil {
		return
	}
	if enabled {
		m.cache.Set(1)
	} else {
		m.cache.Set(0)
	}
}

// classes spares a string per request.
var classes = [...]string{"0xx", "1xx", "2xx", "3xx", "4xx", "5xx"}

// statusClass is one of seven words, whatever status an application makes up: each further value of
// a label is another time series to keep for ever.
func statusClass(status int) string {
	if c := status / 100; status >= 0 && c < len(classes) {
		return classes[c]
	}
	return "other"
}
