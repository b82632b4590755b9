package proxy

import (
	"net/http"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/ratelimit"
)

// maxLimited is how many users, or addresses, one limit keeps in memory, some 200 bytes each. The one not seen for longest
// is forgotten first. Whoever commands more addresses than this is not held by a limit per address anyhow.
const maxLimited = 1 << 16

// requestLimits are those of one section of the settings, with what has been counted under it. nil limits nothing.
type requestLimits struct {
	user, address *ratelimit.Limiter
}

// newRequestLimits makes the limits of each rule that has its own, and those of all other paths, whose key is nil. It gives nil when
// there are none at all.
func newRequestLimits(top config.RequestLimits, rules *Rules, clock func() time.Time) perRule[*requestLimits] {
	all := make(perRule[*requestLimits])
	rules.each(func(rule *config.Rule) {
		if rule.RequestLimits != nil {
			all[rule] = newLimits(*rule.RequestLimits, clock)
		}
	})
	if all[nil] = newLimits(top, clock); len(all) == 1 && all[nil] == nil {
		return nil
	}
	return all
}

func newLimits(cfg config.RequestLimits, clock func() time.Time) *requestLimits {
	limiter := func(r config.Rate) *ratelimit.Limiter {
		if r == (config.Rate{}) {
			return nil
		}
		return ratelimit.New(r.PerSecond(), cfg.BurstOf(r), maxLimited, clock)
	}
	if !cfg.Enabled() {
		return nil
	}
	return &requestLimits{user: limiter(cfg.PerUser), address: limiter(cfg.PerAddress)}
}

// allowAddress counts a request under its client's address, and answers it when it is one too many.
func (g *Gateway) allowAddress(w http.ResponseWriter, r *http.Request, s *state) bool {
	limits := g.limits.of(s.decision.Rule)
	if limits == nil || limits.address == nil {
		return true
	}
	wait, ok := limits.address.Allow(ratelimit.AddressKey(s.Client))
	if !ok {
		g.tooMany(w, r, wait, "requests_address", "Many requests have come from your network address in a short time, so this one was refused.")
	}
	return ok
}

// allowUser counts a request under its user, whichever of their sessions it has, and answers it when it is one too many.
func (g *Gateway) allowUser(w http.ResponseWriter, r *http.Request, s *state) bool {
	limits := g.limits.of(s.decision.Rule)
	if limits == nil || limits.user == nil || !s.signedIn() {
		return true
	}
	wait, ok := limits.user.Allow(s.UserID)
	if !ok {
		g.tooMany(w, r, wait, "requests_user", "You have sent many requests in a short time, so this one was refused.")
	}
	return ok
}

// tooMany answers a request over a limit (RFC 6585, section 4).
func (g *Gateway) tooMany(w http.ResponseWriter, r *http.Request, wait time.Duration, limit, tell string) {
	s := stateOf(r)
	s.Error = "over the limit " + limit
	g.Metrics.Limited(limit)
	problem := pages.Problem{Status: http.StatusTooManyRequests, Code: pages.CodeTooManyRequests, Message: tell, RetryAfter: wait}
	if rule := s.decision.Rule; isWebSocket(r) || rule != nil && rule.Unauthenticated == config.AnswerJSON {
		g.Pages.JSON(w, r, problem)
		return
	}
	g.Pages.Problem(w, r, problem)
}
