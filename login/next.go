package login

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

const (
	// maxNext bounds next, in bytes: no longer than a request target may be by default.
	maxNext = 8 << 10
	// maxDecoding is how often a path is decoded to see what a careless server makes of it.
	maxDecoding = 5
)

// SafeNext judges where a login or logout wants to go on to. It gives next back, ready for a Location
// header, when it is a path on this origin, with query and fragment if it has them; else false, and
// the caller goes to "/" (L02).
//
// The attack is a link to our login page that ends on the attacker's copy of it ("wrong password,
// try again"). So next must begin with one slash, and neither a browser, which drops tabs and line
// ends and takes a backslash for a slash, nor a server behind us that decodes the path once more and
// redirects to it, may see a host in it. Paths with dot segments are refused too: the gateway would
// answer them with 400. The login and logout paths are refused because one leads round in a circle and
// the other out again.
func SafeNext(next string, loginPath, logoutPath string) (string, bool) {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || !utf8.ValidString(next) {
		return "", false
	}
	if strings.ContainsFunc(next, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return "", false
	}
	path, _, _ := strings.Cut(next, "#")
	path, _, _ = strings.Cut(path, "?")
	for range maxDecoding {
		if !plainPath(path) || leadsTo(path, loginPath) || leadsTo(path, logoutPath) {
			return "", false
		}
		decoded, err := url.PathUnescape(path)
		if decoded == path {
			escaped := escapeNext(next)
			if _, err := url.Parse(escaped); err != nil { // a fragment may still be broken
				return "", false
			}
			return escaped, true
		}
		if err != nil {
			// 400 at the gateway. An encoded percent sign (/100%25) ends here too: what a lenient server
			// would decode next to it (/%252f%25zz) cannot be seen.
			return "", false
		}
		path = decoded
	}
	return "", false
}

// plainPath reports whether a path, as one kind of reader sees it, stays on this origin and is what it seems.
func plainPath(path string) bool {
	if !strings.HasPrefix(path, "/") || strings.HasPrefix(path, "//") || !utf8.ValidString(path) {
		return false
	}
	if strings.ContainsFunc(path, func(r rune) bool { return r < 0x20 || r == 0x7f || r == '\\' }) {
		return false
	}
	for segment := range strings.SplitSeq(path, "/") {
		name, _, _ := strings.Cut(segment, ";") // `..;` is `..` to servlet containers
		if name == "." || name == ".." {
			return false
		}
	}
	return true
}

// leadsTo reports whether an application may take path for target: case, repeated and trailing
// slashes, path parameters, trailing dots and spaces do not count.
func leadsTo(path, target string) bool {
	return target != "" && target != "/" && strings.EqualFold(bare(path), bare(target))
}

func bare(path string) string {
	var out strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		segment, _, _ = strings.Cut(segment, ";")
		if segment = strings.TrimRight(segment, ". "); segment != "" {
			out.WriteByte('/')
			out.WriteString(segment)
		}
	}
	return out.String()
}

// escapeNext percent-encodes what may not stand in a Location header as it is: spaces, quotes and
// angle brackets, and everything beyond ASCII.
func escapeNext(next string) string {
	const hex = "0123456789ABCDEF"
	var out strings.Builder
	for i := range len(next) {
		c := next[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"<>`", c) >= 0 {
			out.WriteByte('%')
			out.WriteByte(hex[c>>4])
			out.WriteByte(hex[c&15])
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}
