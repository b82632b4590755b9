package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"gatehouse/config"
)

// perRule is something that rules may have of their own. The key nil has what all other paths get.
type perRule[T any] map[*config.Rule]T

func (p perRule[T]) of(rule *config.Rule) T {
	if own, ok := p[rule]; ok {
		return own
	}
	return p[nil]
}

// securityHeaders are what one section of the settings adds to answers, ready to be put there. The values are shared between
// answers, so nobody may write into them. nil adds nothing.
type securityHeaders struct {
	always []headerLine
	https  []string // of Strict-Transport-Security, nil: none
}

type headerLine struct {
	name   string
	values []string
}

const hstsHeader = "Strict-Transport-Security"

// newSecurityHeaders computes what each rule adds; nil when none adds anything.
func newSecurityHeaders(top config.SecurityHeaders, rules *Rules) perRule[*securityHeaders] {
	all, some := perRule[*securityHeaders]{nil: computeHeaders(top)}, false
	rules.each(func(rule *config.Rule) {
		if rule.SecurityHeaders != nil {
			all[rule] = computeHeaders(rule.SecurityHeaders.Over(top))
		}
	})
	for _, h := range all {
		some = some || h != nil
	}
	if !some {
		return nil
	}
	return all
}

func computeHeaders(cfg config.SecurityHeaders) *securityHeaders {
	h := &securityHeaders{}
	add := func(name, value string) {
		if value != "" && value != config.Unset {
			h.always = append(h.always, headerLine{name, []string{value}})
		}
	}
	add("X-Frame-Options", strings.ToUpper(strings.TrimPrefix(cfg.FrameOptions, config.Unset)))
	add("Referrer-Policy", cfg.ReferrerPolicy)
	if on := cfg.ContentTypeOptions; on != nil && *on {
		add("X-Content-Type-Options", "nosniff")
	}
	if age := cfg.HSTS; age != nil && *age > 0 {
		value := "max-age=" + strconv.Itoa(int(age.Seconds()))
		if on := cfg.HSTSIncludeSubdomains; on != nil && *on {
			value += "; includeSubDomains"
		}
		if on := cfg.HSTSPreload; on != nil && *on {
			value += "; preload"
		}
		h.https = []string{value}
	}
	if h.always == nil && h.https == nil {
		return nil
	}
	return h
}

// add puts the headers into an answer of the application's where it says nothing itself. HSTS goes over https only: over http
// anybody on the way could have written it, and browsers ignore it (RFC 6797, 7.2 and 8.1).
func (s *securityHeaders) add(h http.Header, https bool) {
	if s == nil {
		return
	}
	for _, line := range s.always {
		if _, given := h[line.name]; !given {
			h[line.name] = line.values
		}
	}
	if s.https != nil && https {
		if _, given := h[hstsHeader]; !given {
			h[hstsHeader] = s.https
		}
	}
}

// list tells what is added.
func (s *securityHeaders) list() (all []HeaderValue) {
	if s == nil {
		return nil
	}
	for _, line := range s.always {
		all = append(all, HeaderValue{Name: line.name, Value: line.values[0]})
	}
	if s.https != nil {
		all = append(all, HeaderValue{Name: hstsHeader, Value: s.https[0] + " (https only)"})
	}
	return all
}

// hsts is the value for the gateway's own answers, which have all other headers anyhow. The host's policy is one, and
// who has not logged in yet sees nothing else (RFC 6797, 7.1).
func (s *securityHeaders) hsts(https bool) []string {
	if s == nil || !https {
		return nil
	}
	return s.https
}
