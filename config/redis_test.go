package config_test

import (
	"testing"

	"gatehouse/config"
)

// Logs and people are told where sessions are, and nobody takes a Redis found by sentinels for the embedded one.
func TestWhereRedisIs(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, where string
		embedded          bool
	}{
		{"default", "", "127.0.0.1:6379", false},
		{"embedded", "redis: {addresses: [embedded]}", "embedded", true},
		{"cluster", "redis: {addresses: ['a:1', 'b:2']}", "a:1, b:2", false},
		{"sentinel", "redis: {sentinel: {master: m, addresses: ['a:1', 'b:2'], password: hunter2}}", "master m by the sentinels a:1, b:2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := mustLoad(t, minimal+c.text+"\n").Redis
			if r.Where() != c.where || r.Embedded() != c.embedded {
				t.Errorf("%q, embedded %v", r.Where(), r.Embedded())
			}
		})
	}
	r := config.Redis{Addresses: []string{"embedded"}, Sentinel: config.RedisSentinel{Master: "m"}}
	if r.Embedded() {
		t.Error("with sentinels it is not embedded, whatever stands in addresses")
	}
}
