package proxy

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"gatehouse/config"
	"gatehouse/pages"
)

// hopHeader names the gateways a request has been through. A gateway that finds its own name in it
// is its own upstream (X08).
const hopHeader = "Gatehouse-Hop"

// admission decides which requests are looked at at all.
type admission struct {
	methods []string
	hosts   map[string]bool
	limits  config.Limits
	hop     string // the forwarder's name in hopHeader
}

func newAdmission(cfg *config.Config, hop string) admission {
	a := admission{methods: cfg.Methods, limits: cfg.Limits, hop: hop}
	for _, h := range cfg.Hosts {
		if a.hosts == nil {
			a.hosts = make(map[string]bool)
		}
		if folded, ok := FoldHost(h); ok {
			a.hosts[folded] = true
		}
	}
	return a
}

// refusal is a request that gets no further, and what its client is told.
type refusal struct {
	status int
	code   string
	reason string // for the log
	tell   string // for the client
	limit  string // for the metric of limits
}

// judge refuses what is malformed, ambiguous, too large, for somebody else or going round in
// circles, before any of it means anything.
func (g *Gateway) judge(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := stateOf(r)
		if no := g.admit.judge(r, s); no != nil {
			s.Error = no.reason
			g.refuse(w, r, no)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refuse answers a refused request.
func (g *Gateway) refuse(w http.ResponseWriter, r *http.Request, no *refusal) {
	if no.limit != "" {
		g.Metrics.Limited(no.limit)
	}
	if no.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", strings.Join(g.admit.methods, ", "))
	}
	g.Pages.Problem(w, r, pages.Problem{Status: no.status, Code: no.code, Message: no.tell})
}

// judge fills in s.path and s.Host, or says why not.
func (a *admission) judge(r *http.Request, s *state) *refusal {
	if no := a.size(r); no != nil {
		return no
	}
	if !AllowsMethod(a.methods, r.Method) {
		return &refusal{status: http.StatusMethodNotAllowed, code: "method_not_allowed", reason: "method not allowed",
			tell: "This method is not allowed here."}
	}
	path, no := JudgeTarget(r.Method, r.RequestURI)
	if no != nil {
		return &refusal{status: no.Status, code: "bad_request", reason: no.Reason,
			tell: "The address of this request can be read in more than one way, so it was not passed on."}
	}
	if no := frames(r, path); no != nil {
		return no
	}
	s.path = path
	if no := a.host(r, s); no != nil {
		return no
	}
	for _, hop := range r.Header[hopHeader] {
		if hop == a.hop {
			return &refusal{status: http.StatusLoopDetected, code: "loop", reason: "the upstream leads back to this gateway",
				tell: "The gateway's upstream is the gateway itself. Its operator must correct the setting `upstream`."}
		}
	}
	return nil
}

// frames refuses what is malformed in HTTP/2 and net/http lets pass. A :path with a host of its own (RFC 9113, 8.3.1)
// would be a second word on whose request this is, beside :authority, and nobody would look at it (P01). A
// content-length that cannot be read counts as 0 there, and of two the first counts (8.1.1): the application would be sent
// a request with no body that its client never made (X01).
func frames(r *http.Request, path Path) *refusal {
	if r.ProtoMajor < 2 {
		return nil
	}
	if path.Host != "" {
		return &refusal{status: http.StatusBadRequest, code: "bad_request", reason: "host in the :path of HTTP/2",
			tell: "The address of this request can be read in more than one way, so it was not passed on."}
	}
	if lengths := r.Header["Content-Length"]; len(lengths) > 1 || len(lengths) == 1 && !isDecimal(lengths[0]) {
		return &refusal{status: http.StatusBadRequest, code: "bad_request", reason: "malformed content-length",
			tell: "The length of this request's body is malformed."}
	}
	return nil
}

// isDecimal reports whether s is digits only, as a Content-Length is (RFC 9110, 8.6), and no more than fit into 63 bits.
func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	_, err := strconv.ParseInt(s, 10, 64)
	return err == nil
}

// host folds the request's host and holds it against the configured ones (P09).
func (a *admission) host(r *http.Request, s *state) *refusal {
	host, ok := FoldHost(r.Host)
	if !ok {
		return &refusal{status: http.StatusBadRequest, code: "bad_request", reason: "malformed host",
			tell: "The Host header of this request is missing or malformed."}
	}
	if a.hosts != nil && !a.hosts[host] {
		return &refusal{status: http.StatusMisdirectedRequest, code: "unknown_host", reason: "host is not among `hosts`",
			tell: "This host is not served here."}
	}
	s.Host = host
	return nil
}

// size holds the request against the limits (X07). The server's own limit on header bytes is
// higher, so that a request over this one still gets a page and a line in the log.
func (a *admission) size(r *http.Request) *refusal {
	if limit := int(a.limits.MaxURI); len(r.RequestURI) > limit {
		return &refusal{status: http.StatusRequestURITooLong, code: "uri_too_long", limit: "uri",
			reason: fmt.Sprintf("request target of %d bytes is over limits.max_uri", len(r.RequestURI)),
			tell:   fmt.Sprintf("The address of this request is longer than %d bytes.", limit)}
	}
	cookies := 0
	for _, line := range r.Header["Cookie"] {
		cookies += 1 + strings.Count(line, ";")
	}
	if cookies > a.limits.MaxCookies {
		return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, code: "too_many_cookies", limit: "cookies",
			reason: fmt.Sprintf("%d cookies are over limits.max_cookies", cookies),
			tell:   "This request has too many cookies. If this is a browser, deleting this site's cookies helps."}
	}
	// Host stands apart from the others, and is the longest line of some attacks.
	lines, size := 1, len(r.RequestURI)+len("Host: \r\n")+len(r.Host)
	for name, values := range r.Header {
		lines += len(values)
		for _, v := range values {
			size += len(name) + len(v) + len(": \r\n")
		}
	}
	if lines > a.limits.MaxHeaderLines || size > int(a.limits.MaxHeaderBytes) {
		return &refusal{status: http.StatusRequestHeaderFieldsTooLarge, code: "headers_too_large", limit: "headers",
			reason: fmt.Sprintf("header of %d lines and %d bytes is over limits.max_header_lines or max_header_bytes", lines, size),
			tell:   "The header of this request is too large. If this is a browser, deleting this site's cookies may help."}
	}
	return nil
}

// body bounds the request's body by what its rule allows, before anything of it is read. What is known to be larger is
// refused at once.
func (a *admission) body(r *http.Request, s *state) *refusal {
	limit, setting := a.limits.MaxBody, "limits.max_body"
	if rule := s.decision.Rule; rule != nil && rule.MaxBody != nil {
		limit, setting = *rule.MaxBody, "its rule's max_body"
	}
	s.body.limit(int64(limit))
	if limit > 0 && r.ContentLength > int64(limit) {
		return &refusal{status: http.StatusRequestEntityTooLarge, code: "body_too_large", limit: "body",
			reason: fmt.Sprintf("body of %d bytes is over %s", r.ContentLength, setting),
			tell:   fmt.Sprintf("The body of this request is larger than %d bytes.", limit)}
	}
	return nil
}
