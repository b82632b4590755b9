package proxy

import (
	"net/http"
	"strings"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

// Explanation is what the gateway does with one request, for `gatehouse explain`.
type Explanation struct {
	Method, Target string
	// Refused is the status the request gets before any rule is asked, and Reason why; 0 when it is accepted.
	Refused int
	Reason  string
	// Endpoint is which part of the gateway answers; empty when the application does.
	Endpoint string
	// Match is the path as the rules see it.
	Match string
	// Rule is the index of the rule that decides, -1 for none; RuleName its path, or default or login.
	Rule     int
	RuleName string
	Access   config.Access
	Roles    []string
	// Unauthenticated is what a request without a session gets.
	Unauthenticated string
	Upstream        string
	// Identity are the names deleted from every request. Headers are those the application gets for the
	// example user, in the form they are sent; of an assertion it is said what it is.
	Identity []string
	Headers  []HeaderValue
	// MaxBody and RequestLimits are those that hold there; Added are the headers answers get where the application
	// sets none itself.
	MaxBody       config.Size
	RequestLimits config.RequestLimits
	Added         []HeaderValue
}

// Explain judges a request by the code that judges real ones, without sending anything. target is
// the path with its query, as it stands in the request line.
func Explain(cfg *config.Config, method, target string) (Explanation, error) {
	e := Explanation{Method: method, Target: target, Rule: -1}
	rules, err := NewRules(cfg.Rules, cfg.Default)
	if err != nil {
		return e, err
	}
	g := &Gateway{cfg: cfg, rules: rules, admit: newAdmission(cfg, "")}
	g.login.set(cfg.Login)
	r := &http.Request{Method: method, RequestURI: target, Host: "localhost", Header: http.Header{}}
	g.admit.hosts = nil // a path is asked about, not a host
	s := &state{}
	if no := g.admit.judge(r, s); no != nil {
		e.Refused, e.Reason = no.status, no.reason
		return e, nil
	}
	e.Match = s.path.Match
	if e.Endpoint = g.endpointFor(method, s.path); e.Endpoint != "" {
		return e, nil
	}
	decision, no := g.decide(s.path)
	if no != nil {
		e.Refused, e.Reason = no.Status, no.Reason
		return e, nil
	}
	e.RuleName, e.Access = decision.Name, decision.Access
	e.Upstream = cfg.Upstream.String()
	e.MaxBody, e.RequestLimits = cfg.Limits.MaxBody, cfg.RequestLimits
	e.Added = newSecurityHeaders(cfg.SecurityHeaders, rules).of(decision.Rule).list()
	how := ""
	if decision.Rule != nil {
		for i := range cfg.Rules {
			if cfg.Rules[i].Path == decision.Rule.Path {
				e.Rule = i
			}
		}
		e.Roles, how = decision.Rule.Roles, decision.Rule.Unauthenticated
		if decision.Rule.Upstream != nil {
			e.Upstream = decision.Rule.Upstream.String()
		}
		if decision.Rule.MaxBody != nil {
			e.MaxBody = *decision.Rule.MaxBody
		}
		if decision.Rule.RequestLimits != nil {
			e.RequestLimits = *decision.Rule.RequestLimits
		}
	}
	e.Unauthenticated = map[string]string{
		"":         "people 303 to " + cfg.Login.Path + ", programs 401 JSON",
		"redirect": "303 to " + cfg.Login.Path,
		"json":     "401 JSON",
	}[how]
	scrubber := newScrubber(cfg)
	for _, h := range cfg.Headers {
		e.Identity = append(e.Identity, h.Name)
	}
	if cfg.Assertion.Enabled() {
		e.Identity = append(e.Identity, cfg.Assertion.Header)
	}
	if cfg.IdentitySecretHeader.Enabled() {
		e.Identity = append(e.Identity, cfg.IdentitySecretHeader.Name)
	}
	e.Headers = scrubber.Identity(exampleUser(e.Roles), func(string, string) {})
	if a := cfg.Assertion; a.Enabled() {
		e.Headers = append(e.Headers, HeaderValue{Name: a.Header, Value: "(a JWT for " + a.Audience + ", signed by " + a.Algorithm + ")"})
	}
	return e, nil
}

// endpointFor names the part of the gateway that answers a path itself.
func (g *Gateway) endpointFor(method string, p Path) string {
	switch {
	case p.Asterisk:
		return "OPTIONS *, about the server as a whole"
	case isGatewayPath(p.Match):
		return "endpoint " + strings.TrimPrefix(p.Match, endpointPrefix+"/")
	case p.Raw == g.login.logout:
		return "logout"
	case g.login.takes(method, p.Raw):
		return "login"
	}
	return ""
}

// exampleUser is who the explained headers are of: somebody who may pass.
func exampleUser(roles []string) *session.Record {
	now, role := time.Now(), "user"
	if len(roles) > 0 {
		role = roles[0]
	}
	return &session.Record{
		User:      session.User{ID: "42", Email: "jane@example.com", Name: "Jane Doe", Role: role, EmailVerified: true},
		CreatedAt: now, LastAccessed: now, ExpiresAt: now.Add(720 * time.Hour),
	}
}
