package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"gatehouse/config"
	"gatehouse/pages"
)

// verifyPath is where a web server asks about a request that it will pass on itself. Only this very
// spelling: what the web server keeps clients from is one location, and other spellings might be outside it.
const verifyPath = endpointPrefix + "/verify"

// loginHeader tells nginx where to send a person, since auth_request passes on no Location.
const loginHeader = "X-Gatehouse-Login"

// verifier knows who may ask, and where the request asked about stands.
//
// The attack: what is asked about stands in headers, which clients send too. Whoever can ask as the web
// server does, or slip a header of the web server's past it, is judged by a path that is not the one the
// application gets. So only peers of verify.trusted may ask, only the headers of one dialect are read, and
// each of them must be there exactly once.
type verifier struct {
	dialect string // empty: nobody may ask
	peers   []netip.Prefix
	// proxies are believed about the client's address: peers and trusted_proxies.
	proxies []netip.Prefix
	// method, uri and host name the dialect's headers.
	method, uri, host string
}

// The further headers every dialect has.
const (
	forHeader   = "X-Forwarded-For"
	protoHeader = "X-Forwarded-Proto"
)

func newVerifier(cfg *config.Config) verifier {
	v := verifier{dialect: cfg.Verify.Dialect, peers: cfg.Verify.Trusted, proxies: slices.Concat(cfg.Verify.Trusted, cfg.TrustedProxies)}
	v.method, v.uri, v.host = "X-Forwarded-Method", "X-Forwarded-Uri", "X-Forwarded-Host"
	if v.dialect == config.DialectNginx {
		v.method, v.uri, v.host = "X-Original-Method", "X-Original-Uri", "X-Original-Host"
	}
	return v
}

// asked reports whether r asks about another request. A query means nothing: Caddy appends the client's.
func (v *verifier) asked(r *http.Request) bool {
	if v.dialect == "" {
		return false
	}
	rest, ok := strings.CutPrefix(r.RequestURI, verifyPath)
	return ok && (rest == "" || rest[0] == '?')
}

// inquiry is a request that is judged, but not passed on: a web server asks about it.
type inquiry struct {
	*http.Request
	dialect string
	// origin is what people type, for a Location that must be absolute.
	origin string
}

// verify puts the request asked about in the place of the one that asks. From there on it goes the way
// of every other request, through the same code; at its end stands an answer instead of the application.
func (g *Gateway) verify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.asks.asked(r) {
			next.ServeHTTP(w, r)
			return
		}
		s := stateOf(r)
		s.Rule = "verify"
		s.about = &inquiry{Request: r, dialect: g.asks.dialect}
		// A unix socket's peer has no address, and nobody trusts it (H10).
		if peer, ok := parseHop(r.RemoteAddr); !ok || !isTrusted(peer, g.asks.peers) {
			s.Error = "the peer is not in verify.trusted"
			g.Pages.Problem(w, r, pages.Problem{Status: http.StatusForbidden, Code: "forbidden", Message: "This address is for the web server in front only."})
			return
		}
		about, no := g.asks.about(r)
		if no == "" {
			no = g.scrubber.disguise(about.Header)
		}
		if no != "" {
			s.Error = no
			g.Pages.Problem(w, r, pages.Problem{Status: http.StatusBadRequest, Code: "bad_request",
				Message: "The web server in front did not say clearly enough what it asks about. Its operator finds the cause in the gateway's log."})
			return
		}
		s.about.Request = about
		s.HTTPS = isSecure(r.Header[protoHeader][0])
		s.about.origin = g.origin(about, s.HTTPS)
		next.ServeHTTP(w, about)
	})
}

// about reads the request asked about, or says what is wrong, and where.
func (v *verifier) about(r *http.Request) (about *http.Request, no string) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, "asked with another method than GET or HEAD"
	}
	for _, name := range []string{v.method, v.uri, v.host, forHeader, protoHeader} {
		if len(r.Header[name]) != 1 {
			return nil, "verify.dialect " + v.dialect + ": the header " + name + " must be there exactly once"
		}
	}
	uri := r.Header[v.uri][0]
	u, err := url.ParseRequestURI(uri)
	if err != nil || uri[0] != '/' {
		// Absolute, it would name a host a second time.
		return nil, "verify.dialect " + v.dialect + ": the header " + v.uri + " is no path"
	}
	switch r.Header[protoHeader][0] {
	case "http", "https", "ws", "wss": // Traefik calls WebSockets so
	default:
		return nil, "verify.dialect " + v.dialect + ": the header " + protoHeader + " is neither http nor https"
	}
	about = r.WithContext(r.Context())
	about.Method, about.RequestURI, about.URL, about.Host = r.Header[v.method][0], uri, u, r.Header[v.host][0]
	about.Proto, about.ProtoMajor, about.ProtoMinor = "HTTP/1.1", 1, 1
	about.Body, about.ContentLength, about.TransferEncoding = http.NoBody, 0, nil
	about.Header = r.Header.Clone()
	for _, name := range []string{v.method, v.uri, v.host, forHeader, protoHeader} {
		delete(about.Header, name) // the web server's, they do not count against the client's limits
	}
	if about.Header["Sec-Websocket-Key"] != nil || hasToken(about.Header["Upgrade"], "websocket") {
		// The hop-by-hop headers of a handshake end at the web server, the key does not (RFC 6455, 4.1).
		about.Header["Upgrade"], about.Header["Connection"] = []string{"websocket"}, []string{"Upgrade"}
	}
	return about, ""
}

func isSecure(proto string) bool { return proto == "https" || proto == "wss" }

// origin is where people see the application.
func (g *Gateway) origin(r *http.Request, secure bool) string {
	switch {
	case g.cfg.PublicURL != nil:
		return g.cfg.PublicURL.Scheme + "://" + g.cfg.PublicURL.Host
	case secure:
		return "https://" + r.Host
	default:
		return "http://" + r.Host
	}
}

// ownPath answers when the web server asks about a path the application never sees.
func (g *Gateway) ownPath(w http.ResponseWriter, r *http.Request, what string) {
	stateOf(r).Error = "asked about " + what + ": the web server must pass it on to the gateway, not ask about it"
	g.Pages.Problem(w, r, pages.Problem{Status: http.StatusForbidden, Code: "forbidden",
		Message: "This address belongs to the gateway. The web server in front must pass it on there."})
}

// allow lets the web server pass the request on, and gives it what the application is told: the identity headers,
// and the Cookie header without the gateway's cookies (S02). An attribute that is empty has no header,
// and the web server must delete the client's all the same.
func (g *Gateway) allow(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	g.Forward.setIdentity(w.Header(), s.session.Record)
	g.Forward.setCookie(r.Header, s)
	if line := r.Header["Cookie"]; len(line) > 0 { // one: CutCookie joins several
		w.Header()["Cookie"] = line
	}
	w.WriteHeader(http.StatusOK)
}

// translate tells a refusal the way the web server can use it.
//
// Traefik and Caddy pass any answer but 2xx on to the client, so it is the one the client would get from the
// gateway itself. Only that Traefik makes a relative Location absolute, with the address of the gateway.
// nginx knows 401 and 403, and makes an error of its own (500) of everything else: a refused request is 403,
// a redirect to the login 401 with the login's address. An outage, 503, is left for its 500.
func (q *inquiry) translate(h http.Header, status int) int {
	h.Set("Cache-Control", "no-store")
	if q.Method == http.MethodHead {
		h.Del("Content-Length") // that of a body nobody sends, while the question may have been a GET
	}
	location := h.Get("Location")
	switch {
	case q.dialect == config.DialectTraefik && strings.HasPrefix(location, "/"):
		h.Set("Location", q.origin+location)
	case q.dialect != config.DialectNginx || status < 300 || status >= 500:
	case status == http.StatusSeeOther && location != "":
		h.Set(loginHeader, location)
		h.Del("Location")
		return http.StatusUnauthorized
	case status != http.StatusUnauthorized:
		return http.StatusForbidden
	}
	return status
}
