package soak

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
)

// What is counted.
const (
	served        = "requests served, the identity compared"
	unavailable   = "503: Redis away, session not known well enough"
	loggedIn      = "logins"
	loggedOut     = "logouts"
	revoked       = "revoked past the gateways"
	unconfirmed   = "logouts and revocations not confirmed at once"
	streamed      = "WebSockets and event streams, the identities compared"
	refusedEnded  = "ended sessions refused"
	servedEnded   = "ended sessions still served within the bound of an outage"
	refusedForged = "forged sessions refused"
	violation     = "violations"
)

var counted = []string{served, unavailable, loggedIn, loggedOut, revoked, unconfirmed, streamed, refusedEnded, servedEnded, refusedForged, violation}

// counts is safe for concurrent use.
type counts struct{ of map[string]*atomic.Int64 }

func newCounts() *counts {
	c := &counts{of: make(map[string]*atomic.Int64)}
	for _, name := range counted {
		c.of[name] = new(atomic.Int64)
	}
	return c
}

func (c *counts) add(name string)       { c.of[name].Add(1) }
func (c *counts) get(name string) int64 { return c.of[name].Load() }

func (c *counts) table() string {
	var out strings.Builder
	out.WriteString("| | |\n|---|---:|\n")
	for _, name := range counted {
		fmt.Fprintf(&out, "| %s | %d |\n", name, c.get(name))
	}
	return out.String()
}

// Another's identity must be noticed: everything here rests on it.
func TestAnothersIdentityIsAViolation(t *testing.T) {
	t.Parallel()
	c := &crowd{counts: newCounts()}
	c.saw(7, "7", "an answer")
	if len(c.violations()) != 0 {
		t.Error("one's own identity is none")
	}
	for _, who := range []string{"8", "", "07", "7 "} {
		c.saw(7, who, "an answer")
	}
	if got := c.violations(); len(got) != 4 || !strings.Contains(got[0], `"8"`) || !strings.Contains(got[0], "user 7") {
		t.Errorf("%q", got)
	}
	if !strings.Contains(c.counts.table(), "| violations | 4 |") {
		t.Error(c.counts.table())
	}
}
