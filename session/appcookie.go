package session

import (
	"net/http"
	"strings"
	"sync/atomic"
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
// have nothing else. Safe for concurrent use; a nil one reads nothing.
type AppCookie struct {
	name    string
	domain  string
	reader  *appsession.Cookie
	atRest  func(token string) string
	attrs   Cookies
	forward bool
	opts    Options
	told    atomic.Int64 // when bad cookies were last logged, Unix seconds
}

// tellBad is how often it is logged that cookies do not verify: whoever wants can send some, but when nobody's does
// the secret is wrong, and everybody is logged out.
const tellBad = time.Minute

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
	if !found {
		return AppToken{}, false
	}
	token, ok := c.reader.Token(value)
	if !ok || token == "" {
		c.bad()
		return AppToken{}, false
	}
	return AppToken{value: value, token: token, row: c.atRest(token)}, true
}

// bad counts a cookie that is not the application's, and says so now and then.
func (c *AppCookie) bad() {
	c.opts.Metrics.Migration("bad_cookies")
	now, last := c.opts.Clock().Unix(), c.told.Load()
	if now-last < int64(tellBad/time.Second) || !c.told.CompareAndSwap(last, now) {
		return
	}
	c.opts.Log.Warn().Str("cookie", c.name).Msg("a cookie of the application's does not verify, and counts as none; if this goes for everybody's, " +
		"session.database.cookie.secret or its scheme is not what the application has")
}

// Set sends the cookie again, for as long as the session may go unused. The application, which gets
// it no more, cannot.
func (c *AppCookie) Set(t AppToken, maxAge time.Duration) *http.Cookie {
	cookie := c.attrs.Set(t.value, maxAge) // #nosec G124 -- the attributes are the application's
	cookie.Name, cookie.Domain = c.name, c.domain
	return cookie
}

// Clear makes the browser forget the cookie.
func (c *AppCookie) Clear() *http.Cookie {
	cookie := c.attrs.Clear() // #nosec G124 -- the attributes are the application's
	cookie.Name, cookie.Domain = c.name, c.domain
	return cookie
}

// NewAppCookie reads the section of the table and of the gateway's own cookie, whose attributes it shares.
// Errors are of the configuration.
func NewAppCookie(table *DatabaseStore, cfg config.Session, opts Options) (*AppCookie, error) {
	reader, name, err := AppCookieReader(cfg.Database)
	if err != nil {
		return nil, err
	}
	return &AppCookie{
		name: name, domain: cfg.Database.Cookie.Domain, reader: reader, atRest: table.AtRest,
		attrs: NewCookies(cfg.Cookie, cfg.Idle), forward: cfg.Database.Cookie.Forward, opts: opts.withDefaults(),
	}, nil
}
