package telemetry

import "github.com/prometheus/client_golang/prometheus"

// cached is what sessions take of memory. Its label says of what: replies, the answers of Redis; records, what
// was read out of them.
type cached struct {
	bytes, entries *prometheus.GaugeVec
	evictions      *prometheus.CounterVec
}

func newCached(registry *prometheus.Registry) cached {
	gauge := func(name, help string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "gatehouse_session_cache_" + name, Help: help}, []string{"part"})
	}
	c := cached{
		bytes:   gauge("bytes", "Memory the session cache takes (session.cache_size bounds both parts together), by part: replies, records."),
		entries: gauge("entries", "What the session cache holds, by part: replies, records."),
		evictions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_session_cache_evictions_total",
			Help: "What the full session cache gave up for other sessions, by part: replies (asked for again at Redis), records (decoded again, and not known in an outage).",
		}, []string{"part"}),
	}
	registry.MustRegister(c.bytes, c.entries, c.evictions)
	return c
}

// CacheChanged tells how many bytes and entries of a part came into the session cache, or left it when
// below zero.
func (m *Metrics) CacheChanged(part string, bytes, entries int) {
	if m != nil {
		m.cached.bytes.WithLabelValues(part).Add(float64(bytes))
		m.cached.entries.WithLabelValues(part).Add(float64(entries))
	}
}

// CacheEvicted counts n entries of a part that the full session cache gave up for others.
func (m *Metrics) CacheEvicted(part string, n int) {
	if m != nil {
		m.cached.evictions.WithLabelValues(part).Add(float64(n))
	}
}
