package session

import (
	"testing"
	"time"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	const h, m = time.Hour, time.Minute
	p := policy{idle: 10 * h, absolute: 100 * h}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		name             string
		accessed, now    time.Duration // since the session was made
		expired, renewal bool
		ttl              time.Duration
	}{
		{"new", 0, 0, false, false, 10 * h},
		{"used", 0, 59 * m, false, false, 10 * h},
		{"renewal due", 0, h, false, true, 10 * h},
		{"idle limit: the store decides", 0, 10*h + m, false, true, 10 * h},
		{"long past the idle limit", 0, 10*h + 3*m, true, true, 10 * h},
		{"near the absolute limit", 95 * h, 95 * h, false, false, 5 * h},
		{"just before it", 99 * h, 100*h - 1, false, false, 1},
		{"at it", 99 * h, 100 * h, true, true, 0},
		{"past it", 99 * h, 101 * h, true, true, -h},
		{"used by a replica a minute ahead", m, 0, false, false, 10 * h},
		{"by one far ahead", 2 * h, 0, false, true, 10 * h},
	} {
		r := &Record{CreatedAt: start, LastAccessed: start.Add(test.accessed), ExpiresAt: start.Add(p.absolute)}
		now := start.Add(test.now)
		if got := p.expired(r, now); got != test.expired {
			t.Errorf("%s: expired %v", test.name, got)
		}
		if got := p.renewalDue(r, now); got != test.renewal {
			t.Errorf("%s: renewal due %v", test.name, got)
		}
		if got := p.ttl(r, now); got != test.ttl {
			t.Errorf("%s: ttl %v, want %v", test.name, got, test.ttl)
		}
	}
	for idle, want := range map[time.Duration]time.Duration{10 * m: m, 5 * h: 30 * m, 168 * h: h} {
		if got := (policy{idle: idle}).renewEvery(); got != want {
			t.Errorf("idle %v: renewed every %v, want %v", idle, got, want)
		}
	}
}
