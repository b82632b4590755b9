package session

import (
	"net/http"
	"strings"
	"time"

	"gatehouse/config"
)

// Cookies reads and writes the gateway's cookie. It is immutable and safe for concurrent use.
//
// What it defends against is tossing: a sibling domain, or plain http on the same host, can set
// a cookie of the same name that the browser sends beside the real one, before it or after. Which
// of two is ours cannot be told, so with two there is none. The __Host- prefix, the default name
// with TLS, makes browsers refuse such cookies in the first place.
type Cookies struct {
	name     string
	domain   string
	secure   bool
	sameSite http.SameSite
	longest  time.Duration
}

// The default names of the cookie, see config.Cookie.
const (
	hostCookie  = "__Host-gatehouse"
	plainCookie = "gatehouse"
)

// NewCookies takes the cookie's section and the longest a cookie may last: the idle limit, since each
// renewal of a session sends it again.
func NewCookies(cfg config.Cookie, longest time.Duration) Cookies {
	c := Cookies{name: cfg.Name, domain: cfg.Domain, secure: cfg.Secure, sameSite: http.SameSiteLaxMode, longest: longest}
	switch strings.ToLower(cfg.SameSite) {
	case "strict":
		c.sameSite = http.SameSiteStrictMode
	case "none":
		c.sameSite = http.SameSiteNoneMode
	}
	if c.name == "" {
		c.name = plainCookie
		if c.secure && c.domain == "" {
			c.name = hostCookie
		}
	}
	return c
}

// Name is the cookie's name.
func (c Cookies) Name() string { return c.name }

// Read gives the token out of a request's headers, and how many cookies of the name there are in
// all Cookie headers together. The token is given only when there is exactly one; with more the
// request counts as anonymous and the cookie should be cleared.
//
// Cookie headers are read by hand: net/http drops pairs it dislikes, and a pair it drops here
// may be one that the application accepts. Names are compared byte for byte, as browsers do.
func (c Cookies) Read(h http.Header) (token string, n int) {
	for _, line := range h["Cookie"] {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			name, value, _ := strings.Cut(pair, "=")
			if trim(name) != c.name {
				continue
			}
			if n++; n == 1 {
				token = trim(value)
			}
		}
	}
	if n != 1 {
		return "", n
	}
	return token, 1
}

// Set gives the cookie for a token. It lasts maxAge, at least a second and at most what NewCookies was given.
func (c Cookies) Set(token string, maxAge time.Duration) *http.Cookie {
	maxAge = min(max(maxAge, time.Second), max(c.longest, time.Second))
	cookie := c.base() // #nosec G124 -- all of them are set in base
	cookie.Value = token
	cookie.MaxAge = int((maxAge + time.Second - 1) / time.Second)
	return cookie
}

// Clear gives the cookie that makes the browser forget the token. Its attributes are those of Set,
// without which browsers keep the old one.
func (c Cookies) Clear() *http.Cookie {
	cookie := c.base() // #nosec G124 -- all of them are set in base
	cookie.MaxAge = -1
	return cookie
}

func (c Cookies) base() *http.Cookie {
	return &http.Cookie{ // #nosec G124 -- Secure and SameSite are settings
		Name: c.name, Path: "/", Domain: c.domain, Secure: c.secure, HttpOnly: true, SameSite: c.sameSite,
	}
}

// trim cuts what RFC 6265 calls WSP. More (strings.TrimSpace knows Unicode's spaces) would take
// names for ours that the browser does not.
func trim(s string) string { return strings.Trim(s, " \t") }
