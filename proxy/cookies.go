package proxy

import (
	"net/http"
	"strings"
)

// CutCookie removes the gateway's cookie from a request's Cookie headers, in place, so that the
// application never learns the token (S02). Other cookies stay byte for byte: net/http would read
// and rewrite them, and lose j={"x":1}. Several Cookie lines become one, joined with "; " (RFC 9113,
// 8.2.3). It returns how many cookies it removed.
//
// It removes more than [session.Cookies.Read] counts: a name counts in any case, quoted,
// percent-encoded, with odd blanks, behind a comma, with the dots that PHP makes underscores of, and
// without a value. No server that parses more freely than the gateway finds a session there.
func CutCookie(h http.Header, name string) int {
	lines := h["Cookie"]
	if len(lines) == 0 {
		return 0
	}
	cut := 0
	if len(lines) == 1 && !mayName(lines[0], name) {
		return 0
	}
	kept := make([]string, 0, len(lines))
	for _, line := range lines {
		rest, n := cutFromLine(line, name)
		cut += n
		if n == 0 || strings.Trim(rest, " \t;") != "" {
			kept = append(kept, rest)
		}
	}
	switch len(kept) {
	case 0:
		delete(h, "Cookie")
	case 1:
		h["Cookie"] = kept
	default:
		h["Cookie"] = []string{strings.Join(kept, "; ")}
	}
	return cut
}

// mayName is a quick no: whether the line has what could be a cookie of the name at all.
func mayName(line, name string) bool {
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		if isOurs(pair, name) || strings.IndexByte(pair, ',') >= 0 {
			return true
		}
	}
	return false
}

// cutFromLine removes the cookies of the name from one Cookie line. Between those that stay nothing
// changes; where the first is removed the blanks before the next go with it.
func cutFromLine(line, name string) (string, int) {
	cut := 0
	kept := make([]string, 0, 16) // on the stack
	for rest, more := line, true; more; {
		var pair string
		pair, rest, more = strings.Cut(rest, ";")
		part, n := cutFromPair(pair, name)
		if cut += n; n == 0 || strings.Trim(part, " \t") != "" {
			kept = append(kept, part)
		}
	}
	if cut == 0 {
		return line, 0
	}
	return strings.TrimLeft(strings.Join(kept, ";"), " \t"), cut
}

// cutFromPair removes the cookies of the name from what stands between two semicolons. To most
// servers this is one cookie; the old RFC 2109 separates cookies by commas as well, so there may be
// one of ours behind a comma in the value of another.
func cutFromPair(pair, name string) (string, int) {
	if isOurs(pair, name) {
		return "", 1 // the value of ours may hold a comma: all of it goes
	}
	if strings.IndexByte(pair, ',') < 0 {
		return pair, 0
	}
	cut := 0
	var kept []string
	for part := range strings.SplitSeq(pair, ",") {
		if isOurs(part, name) {
			cut++
			continue
		}
		kept = append(kept, part)
	}
	return strings.Join(kept, ","), cut
}

// DropSetCookie removes from an answer's headers, in place, every Set-Cookie line that a browser might
// take for the gateway's cookie (S02), and returns how many.
func DropSetCookie(h http.Header, name string) int {
	lines := h["Set-Cookie"]
	dropped := 0
	for i, line := range lines {
		pair, _, _ := strings.Cut(line, ";")
		if isOurs(pair, name) {
			if dropped++; dropped == 1 {
				h["Set-Cookie"] = append([]string(nil), lines[:i]...)
			}
		} else if dropped > 0 {
			h["Set-Cookie"] = append(h["Set-Cookie"], line)
		}
	}
	if dropped > 0 && len(h["Set-Cookie"]) == 0 {
		delete(h, "Set-Cookie")
	}
	return dropped
}

// isOurs reports whether some server or browser reads the pair as a cookie of the name. A pair that
// begins with = is included: a browser that is told to set =name=value sends name=value back.
// Control characters and quotes are skipped wherever they stand, blanks around the name.
func isOurs(pair, name string) bool {
	pair = strings.TrimLeftFunc(pair, func(c rune) bool { return c <= ' ' || c == 0x7f || c == '"' || c == '=' })
	if end := strings.IndexByte(pair, '='); end >= 0 {
		pair = pair[:end]
	}
	matched := 0
	for i := 0; i < len(pair); i++ {
		c := pair[i]
		if c == '%' && i+2 < len(pair) && unhex(pair[i+1]) < 16 && unhex(pair[i+2]) < 16 {
			c = unhex(pair[i+1])<<4 | unhex(pair[i+2])
			i += 2
		}
		switch {
		case c < ' ' || c == 0x7f || c == '"':
		case c == ' ' && (matched == 0 || matched == len(name)):
		case matched < len(name) && foldCookieByte(c) == foldCookieByte(name[matched]):
			matched++
		default:
			return false
		}
	}
	return matched == len(name)
}

// foldCookieByte lower-cases, and mangles what PHP mangles in the names of variables.
func foldCookieByte(c byte) byte {
	switch c {
	case '.', ' ', '[':
		return '_'
	}
	return lower(c)
}
