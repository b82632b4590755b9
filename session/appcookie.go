package session

import (
	"net/http"
	"strings"
	"time"

	"gatehouse/config"
	"gatehouse/session/appsession"
)

// AppToken is the token of a session the application made, out of its cookie and, where the application
// signs it, proved to be the application's. Only AppCookie makes one, so that nothing a client
// writes elsewhere is taken for one.
type AppToken struct {
	value string // as it stood in the cookie, to send it again
	token string
	row   string
}

// IsZero reports whether there is no token.
func (t AppToken) IsZero() bool { return t.row == "" }

// Key is where its session is found while it is in the application's table, whoever's it is.
func (t AppToken) Key() Key { return Key{ID: rowID(t.row), Row: t.row} }

// AppCookie reads the application's own session cookie: people who logged in before the gateway came
// have nothing else. Immutable and safe for concurrent use; a nil one reads nothing.
type AppCookie struct {
	name    string
	domain  string
	reader  *appsession.Cookie
	atRest  func(token string) string
	attrs   Cookies
	forward bool
}

// Name is the cookie's name, "" for a nil AppCookie.
func (c *AppCookie) Name() string {
	if c == nil {
		return ""
	}
	return c.name
}

// Forward reports whether the application goes on getting its cookie.
func (c *AppCookie) Forward() bool { return c == nil || c.forward }

// Read gives the token of the request's cookie. With several cookies of the name that differ
// there is none: which of them is the application's cannot be told (S01).
func (c *AppCookie) Read(h http.Header) (AppToken, bool) {
	if c == nil {
		return AppToken{}, false
	}
	value, found := "", false
	for _, line := range h["Cookie"] {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			name, v, _ := strings.Cut(pair, "=")
			if trim(name) != c.name {
				continue
			}
			if v = trim(v); found && v != value {
				return AppToken{}, false
			}
			value, found = v, true
		}
	}
	token, ok := c.reader.Token(value)
	if !found || !ok || token == "" {
		return AppToken{}, false
	}
	return AppToken{value: value, token: token, row: c.atRest(token)}, true
}

// Set sends the cookie again, for as long as the session may go unused. The application, which gets
// it no more, cannot.
func (c *AppCookie) Set(t AppToken, maxAge time.Duration) *http.Cookie {
	cookie := c.attrs.Set(t.value, maxAge)
	cookie.Name, cookie.Domain = c.name, c.domain
	return cookie
}

// Clear makes the browser forget the cookie.
func (c *AppCookie) Clear() *http.Cookie {
	cookie := c.attrs.Clear()
	cookie.Name, cookie.Domain = c.name, c.domain
	return cookie
}

// NewAppCookie reads the section of the table and of the gateway's own cookie, whose attributes it shares.
// Errors are of the configuration.
func NewAppCookie(table *DatabaseStore, cfg config.Session) (*AppCookie, error) {
	reader, name, err := AppCookieReader(cfg.Database)
	if err != nil {
		return nil, err
	}
	return &AppCookie{
		name: name, domain: cfg.Database.Cookie.Domain, reader: reader, atRest: table.AtRest,
		attrs: NewCookies(cfg.Cookie, cfg.Idle), forward: cfg.Database.Cookie.Forward,
	}, nil
}
