package telemetry

import "github.com/prometheus/client_golang/prometheus"

// Collector shows the registry to the tests' linter.
func Collector(m *Metrics) prometheus.Collector { return m.registry }
