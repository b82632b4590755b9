package login

import (
	"strconv"
	"strings"
	"time"
)

// setCookie is one Set-Cookie line, read as browsers read it (RFC 6265, section 5.2). Go's own parser
// is not used: it drops names and values it finds odd and unquotes others, and the application must
// get back the very bytes it sent.
type setCookie struct {
	name, value string
	path        string // as written; "" when there is none that counts
	domain      string // as written; "" when there is none
	httpOnly    bool
	secure      bool
	expires     time.Time // zero: when the session ends
	deletes     bool      // expired already: the browser would forget the cookie
	broken      bool      // holds control characters
}

// parseSetCookie reads a line as it arrived at now.
func parseSetCookie(line string, now time.Time) setCookie {
	pair, attributes, _ := strings.Cut(line, ";")
	name, value, found := strings.Cut(pair, "=")
	if !found {
		name, value = "", pair // a cookie without a name
	}
	c := setCookie{name: trim(name), value: trim(value)}
	// A control character in a Cookie header would make every request to the application fail.
	c.broken = hasControl(line)
	var maxAge, expires string
	for attributes != "" {
		var attribute string
		attribute, attributes, _ = strings.Cut(attributes, ";")
		key, val, _ := strings.Cut(attribute, "=")
		val = trim(val)
		switch strings.ToLower(trim(key)) {
		case "httponly":
			c.httpOnly = true
		case "secure":
			c.secure = true
		case "path":
			if c.path = val; !strings.HasPrefix(val, "/") {
				c.path = "" // section 5.2.4: the default path
			}
		case "domain":
			c.domain = val
		case "max-age":
			if validMaxAge(val) {
				maxAge = val
			}
		case "expires":
			expires = val
		}
	}
	c.expire(maxAge, expires, now)
	return c
}

// expire decides when the cookie ends. Max-Age goes before Expires (section 5.3).
func (c *setCookie) expire(maxAge, expires string, now time.Time) {
	if maxAge != "" {
		seconds, err := strconv.ParseInt(maxAge, 10, 64)
		switch {
		case strings.HasPrefix(maxAge, "-") || err == nil && seconds == 0:
			c.deletes = true
		case err != nil || seconds > maxCookieLife:
			c.expires = now.Add(maxCookieLife * time.Second)
		default:
			c.expires = now.Add(time.Duration(seconds) * time.Second)
		}
		return
	}
	if t, ok := parseCookieDate(expires); ok {
		c.expires, c.deletes = t, !t.After(now)
	}
}

// maxCookieLife in seconds: 400 days, as browsers cap it (RFC 6265bis, section 5.5). No session of
// ours lives that long.
const maxCookieLife = 400 * 24 * 60 * 60

// validMaxAge: digits after an optional minus (section 5.2.2); anything else is as if not there.
func validMaxAge(s string) bool {
	digits := strings.TrimPrefix(s, "-")
	return digits != "" && strings.Trim(digits, "0123456789") == ""
}

// trim cuts the white space of RFC 6265, which is less than Go's.
func trim(s string) string { return strings.Trim(s, " \t") }

func hasControl(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' && s[i] != '\t' || s[i] == 0x7f {
			return true
		}
	}
	return false
}

// defaultPath is the path of a cookie without Path attribute, set by an answer to a request for
// path (RFC 6265, section 5.1.4).
func defaultPath(path string) string {
	path, _, _ = strings.Cut(path, "?")
	if !strings.HasPrefix(path, "/") {
		return "/"
	}
	if i := strings.LastIndexByte(path, '/'); i > 0 {
		return path[:i]
	}
	return "/"
}

// pathMatches: a cookie of this path goes along with a request for path (section 5.1.4).
func pathMatches(path, cookiePath string) bool {
	if !strings.HasPrefix(path, cookiePath) {
		return false
	}
	return len(path) == len(cookiePath) || strings.HasSuffix(cookiePath, "/") || path[len(cookiePath)] == '/'
}

// expireLine makes the browser forget its copy of a cookie. Path and domain must be those the copy was
// set with, or it is another cookie; so must Secure, without which browsers do not touch a secure one.
func expireLine(c setCookie) string {
	line := c.name + "="
	if c.path != "" {
		line += "; Path=" + c.path
	}
	if c.domain != "" {
		line += "; Domain=" + c.domain
	}
	line += "; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly"
	if c.secure || strings.HasPrefix(c.name, "__Host-") || strings.HasPrefix(c.name, "__Secure-") {
		line += "; Secure"
	}
	return line
}

// dropCookies removes the cookies of the given names from a Cookie header and keeps the rest byte for
// byte. It reads the header as generously as the most generous application does, because a cookie the
// gateway overlooks and the application sees would replace the vault's (cookie tossing from a sibling
// domain): see foldCookieName and smuggles.
func dropCookies(header string, names []string) string {
	if header == "" || len(names) == 0 {
		return header
	}
	folded := make([]string, len(names))
	for i, name := range names {
		folded[i] = foldCookieName(name)
	}
	kept := make([]string, 0, 16)
	dropped := false
	for piece := range strings.SplitSeq(header, ";") {
		if isOneOf(piece, folded) {
			dropped = true
			continue
		}
		kept = append(kept, piece)
	}
	if !dropped {
		return header
	}
	return trim(strings.Join(kept, ";"))
}

func isOneOf(piece string, folded []string) bool {
	// A browser that was told to set =name=value sends name=value back, others the whole of it.
	own, _, _ := strings.Cut(strings.TrimLeft(piece, " \t=\""), "=")
	own = foldCookieName(own)
	piece = strings.ToLower(piece)
	for _, name := range folded {
		if own == name || smuggles(piece, name) {
			return true
		}
	}
	return false
}

// cookieValue gives the first cookie of a name.
func cookieValue(header, name string) (string, bool) {
	for piece := range strings.SplitSeq(header, ";") {
		if own, value, ok := strings.Cut(piece, "="); ok && trim(own) == name {
			return trim(value), true
		}
	}
	return "", false
}

// foldCookieName makes names equal that some application takes for the same: ASP.NET looks them up
// without regard to case, PHP cuts at [ and turns dots and spaces into underscores, others decode %xx
// or drop quotes.
func foldCookieName(name string) string {
	name = strings.ToLower(strings.Trim(name, " \t\""))
	if !strings.ContainsAny(name, "%. [+\t") {
		return name
	}
	name = strings.ToLower(unescapePercent(name))
	if i := strings.IndexByte(name, '['); i > 0 {
		name = name[:i]
	}
	return strings.Map(func(r rune) rune {
		if r == '.' || r == ' ' || r == '+' || r == '[' || r == '\t' {
			return '_'
		}
		return r
	}, trim(name))
}

// unescapePercent decodes what decodes and leaves the rest.
func unescapePercent(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+3], 16, 8); err == nil {
				out.WriteByte(byte(b))
				i += 2
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// smuggles reports whether an application that also separates cookies at white space, commas or
// quotes (Python's SimpleCookie, RFC 2965 parsers) would find name inside the piece. Both are lower-case.
func smuggles(piece, name string) bool {
	for at := 0; name != ""; {
		i := strings.Index(piece[at:], name)
		if i < 0 {
			return false
		}
		i += at
		starts := i == 0 || strings.IndexByte(" \t,\"'", piece[i-1]) >= 0
		if starts && strings.HasPrefix(strings.TrimLeft(piece[i+len(name):], " \t"), "=") {
			return true
		}
		at = i + 1
	}
	return false
}
