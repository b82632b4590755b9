package proxy

import (
	"net/http"
	"strconv"

	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/session"
)

// newScrubber knows every header that is the gateway's to set. Assertion and shared secret are deleted from answers
// whatever strip_response_headers says: an application that echoes them would hand out what others may be taken in with.
func newScrubber(cfg *config.Config, private ...string) *Scrubber {
	own := []string{cfg.Assertion.Header, cfg.IdentitySecretHeader.Name}
	s := NewScrubber(cfg.Headers, cfg.Requests, append(own, private...)...)
	for _, name := range own {
		s.denied.add(name)
	}
	return s
}

// setIdentity puts into h who the session's user is: the identity headers of the settings, and the assertion.
// Without a session (nil) it sets nothing. It is the only place that says who somebody is; the client's own headers of
// these names have been deleted before (scrub).
//
// The shared secret is not among them: it says that a request comes from the gateway, and goes to applications alone (dress).
func (f *Forwarder) setIdentity(h http.Header, rec *session.Record) {
	if rec == nil {
		return
	}
	headers := f.scrubber.Identity(rec, f.dropped)
	if value := f.assertion(rec); value != "" {
		headers = append(headers, HeaderValue{Name: f.assertionName, Value: value})
	}
	values := make([]string, len(headers)) // one piece of memory for all
	for i, one := range headers {
		values[i] = one.Value
		h[one.Name] = values[i : i+1 : i+1]
	}
}

// assertion gives the signed form of who the session's user is, "" when there is none or it cannot be sent.
func (f *Forwarder) assertion(rec *session.Record) string {
	if f.assertions == nil {
		return ""
	}
	token, err := f.assertions.Token(assertion.Subject{
		UserID: rec.User.ID, Email: rec.Email, Name: rec.Name, Role: rec.Role, EmailVerified: rec.EmailVerified,
		SessionID: rec.ID, ExpiresAt: rec.ExpiresAt,
	})
	switch {
	case err != nil:
		f.dropped(f.assertionName, err.Error())
		return ""
	case len(token) > maxHeaderValue:
		f.dropped(f.assertionName, tooLong)
		return ""
	}
	return token
}

// dropped is told of identity headers that cannot be sent.
func (f *Forwarder) dropped(name, why string) {
	f.log.Warn().Str("header", name).Msg("identity header not sent: " + why)
}

// jwksMaxAge is how long applications may keep the keys, in seconds. A key that is added is to wait for so long before
// it signs (docs/operating.md).
const jwksMaxAge = 300

// serveJWKS publishes the keys that assertions are verified with. Unlike all else below /.gatehouse/ they may be cached:
// they are the same for everybody.
func (g *Gateway) serveJWKS(w http.ResponseWriter, r *http.Request) {
	body := g.Forward.assertions.JWKS()
	h := w.Header()
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(jwksMaxAge))
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body)
	}
}
