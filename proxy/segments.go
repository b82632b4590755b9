package proxy

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// What scanRaw finds in a raw path.
const (
	markForbidden = 1 << iota // a byte that no path may hold
	markPercent               // something to decode
	markSegment               // a segment that may lead out of its folder
	markSlashes               // an interior //
)

// rawMarks marks bytes anywhere in a raw path, headMarks those right after a slash.
var rawMarks, headMarks = func() (raw, head [256]uint8) {
	for c := range raw {
		if c <= ' ' || c >= 0x7f {
			raw[c] = markForbidden
		}
	}
	// The backslash is a slash to Windows and to every browser's URL parser (P06), and # would begin a
	// fragment, after which some servers do not look (P08).
	raw['\\'], raw['#'] = markForbidden, markForbidden
	raw['%'] = markPercent
	head['/'] = markSlashes
	head['.'], head['+'], head['('] = markSegment, markSegment, markSegment
	return raw, head
}()

func scanRaw(raw string) (marks uint8) {
	var before byte
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		marks |= rawMarks[c]
		if before == '/' {
			marks |= headMarks[c]
		} else if before == '.' && c == '/' {
			marks |= markSegment
		}
		before = c
	}
	return marks
}

// decode makes plain of Raw by decoding %XX once. %2F and %25 stay, in upper case, and are reported:
// decoded, the first would be mistaken for a separator and the second for the beginning of another %XX.
func (p *Path) decode() *Refusal {
	var short [256]byte
	b := short[:0]
	high, usual := false, true
	for i := 0; i < len(p.Raw); i++ {
		c := p.Raw[i]
		if c != '%' {
			b = append(b, c)
			continue
		}
		if i+2 >= len(p.Raw) {
			return refuse("malformed percent-encoding in path")
		}
		hi, lo := unhex(p.Raw[i+1]), unhex(p.Raw[i+2])
		if hi > 15 || lo > 15 {
			return refuse("malformed percent-encoding in path")
		}
		i += 2
		c = hi<<4 | lo
		if c < ' ' || c == 0x7f || c == '\\' {
			return refuse("encoded control character or backslash in path")
		}
		if usual && isEncodedNeedlessly(c) {
			p.literal, usual = len(b), false
		}
		high = high || c >= utf8.RuneSelf
		switch c {
		case '/':
			b, p.Encoded = append(b, "%2F"...), true
		case '%':
			b, p.Encoded = append(b, "%25"...), true
		default:
			b = append(b, c)
		}
	}
	p.plain = string(b)
	if usual {
		p.literal = len(b)
	}
	if high {
		return judgeText(p.plain)
	}
	return nil
}

// isEncodedNeedlessly reports whether browsers leave a character of a path as it is.
func isEncodedNeedlessly(c byte) bool {
	return c < utf8.RuneSelf && strings.IndexByte(" \"<>`{}|^", c) < 0
}

// judgeText refuses what a decoded path must not hold (P06): invalid UTF-8, overlong forms among it
// (%c0%ae is a dot to lenient decoders), control characters of ASCII and of Latin-1, backslashes.
func judgeText(s string) *Refusal {
	if !utf8.ValidString(s) {
		return refuse("invalid UTF-8 in path")
	}
	for _, c := range s {
		if unicode.IsControl(c) || c == '\\' {
			return refuse("encoded control character or backslash in path")
		}
	}
	return nil
}

// unhex gives the value of a hexadecimal digit, 255 for anything else.
func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// judgeSegments refuses the segments that make a server leave the path it is in (P02, P03, P05). A name with two dots behind it is
// such a one to an nginx whose location lacks the slash that its alias has: of `location /static { alias /srv/static/; }` and
// /static../admin it makes /srv/static/../admin.
func judgeSegments(path string) *Refusal {
	for rest := path; rest != ""; {
		var segment string
		var folder bool
		segment, rest, folder = strings.Cut(rest, "/")
		if isDotSegment(segment) {
			return refuse("dot segment in path")
		}
		if folder && strings.HasSuffix(segment, "..") {
			return refuse("two dots at the end of a folder's name in path")
		}
		if isSessionSegment(segment) {
			return refuse("session segment in path")
		}
	}
	return nil
}

// isDotSegment reports whether some server takes the segment for "." or "..": Tomcat drops what
// follows a semicolon (..;x), Windows trailing dots and blanks ("..%20", "..."), some decoders take a
// plus for a blank, and a server that decodes too early cuts at # and ?.
func isDotSegment(segment string) bool {
	if i := strings.IndexAny(segment, ";:#?"); i >= 0 {
		segment = segment[:i]
	}
	return strings.IndexByte(segment, '.') >= 0 && strings.Trim(segment, ". +") == ""
}

// isSessionSegment recognises the segment (S(...)) that ASP.NET takes out of the path before
// anything else looks at it: /(S(x))/admin is /admin there.
func isSessionSegment(segment string) bool {
	return len(segment) > 2 && segment[0] == '(' && segment[2] == '(' && strings.Contains(segment, "))")
}

// collapseSlashes makes one slash of each run of them.
func collapseSlashes(path string) string {
	b := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] != '/' || i == 0 || path[i-1] != '/' {
			b = append(b, path[i])
		}
	}
	return string(b)
}
