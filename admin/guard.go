package admin

import (
	"math"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatehouse/ratelimit"
	"gatehouse/telemetry"
)

// guard decides who may ask the listener anything, metrics and profiles included.
//
// With a token every request must bear it. Without one the listener is bound to loopback, which the config check holds. That
// alone would not keep out a web page in the operator's own browser whose host name is made to resolve to 127.0.0.1
// (DNS rebinding), so requests for any host that is not loopback get 403. With a token that page has nothing to show, and
// the listener may have any name.
type guard struct {
	Deps
	token *token // nil: there is none
	// guesses bounds what wrong tokens from one address cost: past the limit there is no audit line for them, or who guesses
	// would fill the log. It asks nobody with the right token to wait. All clients of a proxy have its address, and any of them
	// could shut out the operators; and a token of at least 32 characters is not found by guessing, however fast.
	guesses *ratelimit.Limiter
	next    http.Handler
}

// ServeHTTP lets the request through, or answers it.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	r = bounded(w, r)
	if g.token == nil {
		if !loopback(r.Host) {
			fail(w, r, &problem{status: http.StatusForbidden, code: "host", message: "Without a token the admin listener answers for localhost and loopback addresses only."})
			return
		}
		g.next.ServeHTTP(w, r)
		return
	}
	want, given := g.token.current(g.Clock()), bearer(r.Header)
	if matches(given, want) {
		g.next.ServeHTTP(w, r)
		return
	}
	if wait, ok := g.guesses.Allow(ratelimit.AddressKey(clientOf(r))); !ok {
		g.Metrics.Limited("admin")
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		fail(w, r, &problem{status: http.StatusTooManyRequests, code: "too_many_attempts", message: "The token is missing or wrong, as it was in too many requests from this address; send the right one, or try again later."})
		return
	}
	g.refuse(w, r, given != "")
}

// refuse answers 401 and writes it down.
func (g *guard) refuse(w http.ResponseWriter, r *http.Request, given bool) {
	challenge, reason := `Bearer realm="gatehouse admin"`, "no_token"
	if given {
		challenge, reason = challenge+`, error="invalid_token"`, "wrong_token"
	}
	event := telemetry.Audit{Event: telemetry.EventAdminDenied, Reason: reason}
	if client := clientOf(r); client.IsValid() {
		event.Client = client.String()
	}
	telemetry.LogAudit(&g.Log, event)
	w.Header().Set("WWW-Authenticate", challenge)
	fail(w, r, &problem{status: http.StatusUnauthorized, code: "unauthorized", message: tokenHint})
}

// bearer gives the token a request bears, "" for none. Two Authorization headers are none: programs differ in which one they mean.
func bearer(h http.Header) string {
	lines := h["Authorization"]
	if len(lines) != 1 {
		return ""
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	if !strings.EqualFold(scheme, "bearer") {
		return ""
	}
	return strings.TrimSpace(token)
}

// clientOf is the address of the peer. Nothing the request says of itself is believed here.
func clientOf(r *http.Request) netip.Addr {
	addr, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return addr.Addr().Unmap()
}

// loopback reports whether a Host header names this machine in a way that no DNS server decides.
func loopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

// guessEvery and guessBurst bound the wrong tokens from one address that are written down: ten at once, then ten a minute.
const (
	guessEvery = 6 * time.Second
	guessBurst = 10
	// maxGuessers bounds the addresses that are remembered.
	maxGuessers = 10_000
)
