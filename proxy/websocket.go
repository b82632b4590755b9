package proxy

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gatehouse/pages"
)

// isWebSocket reports whether r is a WebSocket handshake (RFC 6455, 4.1): GET, HTTP/1.1, Connection:
// Upgrade, Upgrade: websocket and nothing else.
func isWebSocket(r *http.Request) bool {
	up := r.Header["Upgrade"]
	if len(up) != 1 || !strings.EqualFold(up[0], "websocket") || r.Method != http.MethodGet || r.ProtoMajor != 1 {
		return false
	}
	return hasToken(r.Header["Connection"], "upgrade")
}

// hasToken reports whether a list header holds a token, in any case.
func hasToken(lines []string, token string) bool {
	for _, line := range lines {
		for item := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(item), token) {
				return true
			}
		}
	}
	return false
}

// admitWebSocket holds a handshake against the rule and its origin, and answers it when it may not
// go on.
func (g *Gateway) admitWebSocket(w http.ResponseWriter, r *http.Request, s *state) bool {
	rule := s.decision.Rule
	// An application that is asked by HTTP/2 cannot be asked for an upgrade (RFC 9113, 8.6).
	if rule != nil && !rule.AllowsWebSocket() || g.Forward.upstreamOf(s.decision).http2() {
		if s.about != nil { // the header is the web server's to pass on, out of reach here
			s.Error = "WebSocket handshake under a rule without them"
			g.Pages.JSON(w, r, pages.Problem{Status: http.StatusForbidden, Code: "forbidden", Message: "There are no WebSockets here."})
			return false
		}
		// Without the header it is an ordinary GET, to be judged as such by the app (X02).
		r.Header.Del("Upgrade")
		return true
	}
	if !g.sameOrigin(r) {
		s.Error = "cross-site WebSocket handshake"
		g.Pages.JSON(w, r, pages.Problem{Status: http.StatusForbidden, Code: "cross_site",
			Message: "WebSockets may be opened from this site's own pages only; another origin must be listed in trusted_origins."})
		return false
	}
	return true
}

// sameOrigin reports whether a handshake comes from a page of this site. Browsers send cookies with
// handshakes from anywhere, and no preflight (X03, cross-site WebSocket hijacking). Programs that
// are no browsers send no Origin and have nobody's cookies to abuse.
func (g *Gateway) sameOrigin(r *http.Request) bool {
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	origin := strings.ToLower(origins[0])
	if slices.Contains(g.cfg.TrustedOrigins, origin) {
		return true
	}
	if own := g.cfg.PublicURL; own != nil && origin == strings.ToLower(own.Scheme+"://"+own.Host) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
