package proxy

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"gatehouse/pages"
	"gatehouse/telemetry"
)

const requestIDHeader = "X-Request-Id"

// observe gives the request its id and client address, and writes its access line when it is over,
// however it ends.
func (g *Gateway) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := &state{began: g.Clock()}
		proxies := g.cfg.TrustedProxies
		if g.asks.asked(r) {
			proxies = g.asks.proxies
		}
		s.Client, s.peer = ClientAddress(r, proxies)
		s.HTTPS = ForwardedProto(r, s.peer) == "https"
		s.ID = requestID(r.Header, s.peer)
		s.Rule = "refused" // until a rule or an endpoint has taken it

		resp := newResponse(w, r, g.scrubber, g.cfg.Timeouts.Body, s)
		resp.hsts = g.Forward.security.of(nil).hsts(s.HTTPS)
		defer resp.leave()
		r = r.WithContext(&requestContext{Context: r.Context(), state: s})
		s.body = g.boundBody(resp, r)
		defer s.body.leave()

		defer g.record(resp, r, s)
		next.ServeHTTP(resp, r)
	})
}

// record writes the access line and counts the request.
func (g *Gateway) record(w *response, r *http.Request, s *state) {
	took := g.Clock().Sub(s.began)
	if s.about != nil {
		r = s.about.Request
	}
	path := s.path.Raw
	if path == "" {
		path = refusedPath(r.RequestURI)
	}
	if why := s.cut.Load(); why != nil {
		s.Error = *why
	}
	code := w.code()
	if s.Status != 0 && code != statusClientGone {
		code = s.Status
	}
	var upstream time.Duration
	if !s.answered.IsZero() {
		upstream = s.answered.Sub(s.asked)
	}
	telemetry.LogAccess(&g.Log, telemetry.Access{
		ID: s.ID, Client: s.client(), Method: r.Method, Path: path, Status: code, Bytes: w.bytes,
		Duration: took, Upstream: upstream, UserID: s.UserID, Session: s.Session, Rule: s.Rule, Source: s.Source, Error: s.Error, GRPCStatus: s.GRPCStatus,
	})
	if s.upgraded {
		took = -1
	}
	if s.body.tooLarge() {
		g.Metrics.Limited("body")
	}
	g.Metrics.Request(s.Rule, code, took)
}

// survive turns a panic of this request into its 500, and leaves the process running (X15). An
// aborted answer stays aborted: swallowing http.ErrAbortHandler would end a cut-off body as if it
// were complete (X05).
func (g *Gateway) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			v := recover()
			if v == nil {
				return
			}
			s := stateOf(r)
			if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				if s.Error == "" {
					s.Error = "answer cut off"
				}
				panic(http.ErrAbortHandler)
			}
			s.Error = fmt.Sprint("panic: ", v)
			g.Log.Error().Str("id", s.ID).Str("panic", fmt.Sprint(v)).Bytes("stack", debug.Stack()).Msg("a request panicked")
			if resp, ok := w.(*response); ok && resp.status != 0 {
				panic(http.ErrAbortHandler)
			}
			g.Pages.Problem(w, r, pages.Problem{Status: http.StatusInternalServerError, Code: "internal",
				Message: "Something went wrong in the gateway. The operator finds the cause in its log under the request id."})
		}()
		next.ServeHTTP(w, r)
	})
}

// requestID takes over the id a trusted proxy gave, if it looks like one, else makes one.
func requestID(h http.Header, trusted bool) string {
	if ids := h[requestIDHeader]; trusted && len(ids) == 1 && plainID(ids[0]) {
		return ids[0]
	}
	return rand.Text()
}

// plainID keeps ids out of the log that are no ids.
func plainID(id string) bool {
	if len(id) == 0 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == ':' || c == '/' || c == '+' || c == '=') {
			return false
		}
	}
	return true
}

// refusedPath is what the log says of a target that was refused. What is no path may hold a password
// (http://user:password@host/), and a query always may.
func refusedPath(target string) string {
	if !strings.HasPrefix(target, "/") {
		return "(no path)"
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}
