package proxy

import (
	"net/http"
	"strings"

	"gatehouse/config"
)

// What somebody needs to pass, as the oracle counts it.
const (
	needsNothing = iota
	needsSession
	needsAdmin
)

// oracle says what a path needs, for a server that has read it already: the longest rule wins, whole
// segments, nothing folded. It shares no code with Rules.
type oracle struct {
	fallback int
	routes   []oracleRoute
}

type oracleRoute struct {
	segments []string
	needs    int
}

func newOracle(cfg []config.Rule, def config.Access) oracle {
	needs := func(access config.Access, roles []string) int {
		switch {
		case access == config.Public:
			return needsNothing
		case len(roles) > 0:
			return needsAdmin
		}
		return needsSession
	}
	o := oracle{fallback: needs(def, nil)}
	for _, rule := range cfg {
		o.routes = append(o.routes, oracleRoute{splitPath(rule.Path), needs(rule.Access, rule.Roles)})
	}
	return o
}

func splitPath(p string) []string {
	var segments []string
	for segment := range strings.SplitSeq(p, "/") {
		if segment != "" {
			segments = append(segments, segment)
		}
	}
	return segments
}

// memo remembers what readings of one path need: most models read it the same way.
type memo struct {
	known [16]struct {
		reading         string
		anyCase, suffix bool
		needs           int
	}
	used int
}

// needs is the most that any of the model's readings needs.
func (o *oracle) needs(m *model, q request, seen *memo) int {
	most := needsNothing
	for _, reading := range m.readings(q) {
		if reading != "" {
			most = max(most, o.needsOf(m, reading, seen))
		}
	}
	return most
}

func (o *oracle) needsOf(m *model, reading string, seen *memo) int {
	for i := range seen.used {
		if k := &seen.known[i]; k.reading == reading && k.anyCase == m.anyCase && k.suffix == m.suffix {
			return k.needs
		}
	}
	need, longest := o.fallback, -1
	for _, route := range o.routes {
		if len(route.segments) > longest && m.matches(route.segments, reading) {
			need, longest = route.needs, len(route.segments)
		}
	}
	if seen.used < len(seen.known) {
		k := &seen.known[seen.used]
		k.reading, k.anyCase, k.suffix, k.needs = reading, m.anyCase, m.suffix, need
		seen.used++
	}
	return need
}

// matches reports whether the path begins with the route's segments. Empty segments do not count.
func (m *model) matches(route []string, path string) bool {
	for _, want := range route {
		path = strings.TrimLeft(path, "/")
		got, rest, _ := strings.Cut(path, "/")
		switch last := strings.TrimLeft(rest, "/") == ""; {
		case got == want:
		case m.anyCase && strings.EqualFold(got, want):
		case m.suffix && last && before(got, ".") == want:
		default:
			return false
		}
		path = rest
	}
	return true
}

// judge is what P14 tests: what somebody needs to pass with a path, or refused.
type judge func(raw string) (needs int, accepted bool)

// gatewayJudge is the real one.
func gatewayJudge(rules *Rules) judge {
	return func(raw string) (int, bool) {
		p, no := JudgeTarget(http.MethodGet, raw)
		if no != nil {
			return 0, false
		}
		d, no := rules.Decide(p)
		switch {
		case no != nil:
			return 0, false
		case d.Access == config.Public:
			return needsNothing, true
		case d.Allows("user"):
			return needsSession, true
		}
		return needsAdmin, true
	}
}

// naiveJudge decides the way one writes it first: decode, compare prefixes.
func naiveJudge(cfg []config.Rule, def config.Access) judge {
	o := newOracle(cfg, def)
	plain := &model{name: "naive", readings: func(q request) readings { return readings{q.decoded} }}
	return func(raw string) (int, bool) { return o.needs(plain, newRequest(raw), &memo{}), true }
}
