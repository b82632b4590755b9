// Package hostile makes request paths that two programs may read in two ways (security case P14): words that the rules of
// the tests protect or open, misspelled, with something stuck to them, and joined by what some server takes for a slash.
// The models in package proxy and the real servers in e2e/servers are tried with the same ones.
package hostile

import "math/rand/v2"

// The grammar's words: segments worth hiding or hiding behind, what may stand between them, what
// may be stuck to them, and other spellings of letters.
var (
	segments = []string{"admin", "admin", "admin", "account", "api", "private", "public", "secret", "files", "health", "keys", "x", "index.php", "index", "a.b", "", "..", ".", "(S(x))", "%E2%84%AAeys", "key%C5%BF"}
	joints   = []string{"/", "/", "/", "/", "/", "/", "/", "/", "/", "//", "///", "\\", "%2f", "%2F", "%5c", "%252f", "/./", "/../", "/..;/", "/%2e%2e/", "/.%2e/", "/;/", "/;x/", "/%20/", "/%2e/", "/...", "/..%20/", "%EF%BC%8F", "%c0%af", "/%E2%80%8B/", "/%EF%BC%8E%EF%BC%8E/", "/index.php/", "/index/", "../"}
	tails    = []string{".json", ".html", ".", "..", "%20", "%20.", ";x", ";x=1,2", ";jsessionid=1", "%3bx", "#", "%23", "%23x", "%3f", "%3Fx", "%00", "%0a", "%09", ":$DATA", "::$INDEX_ALLOCATION", "~", "~1", "+", "%2b", "%2e", "%252e", "%25", "\\", "%5c", "\xff", "%ff", "%C2%AD", "/", "//", "?x=/public/", "&a=b", ",", "=", "!", "|", "^", "%2f..", "%2f%2e%2e%2f", "%u0061", "%"}
	letters  = map[byte][]string{
		'a': {"A", "%61", "%41", "%2561", "%EF%BD%81", "%c1%a1"}, 'd': {"D", "%64", "%44", "%EF%BD%84"}, 'i': {"I", "%69", "%C4%B1", "%C4%B0"},
		'k': {"K", "%E2%84%AA", "%6b"}, 's': {"S", "%C5%BF", "%73", "%2573"}, 'e': {"E", "%65", "%25%36%35"}, 'p': {"P", "%70"}, 't': {"T", "%74"},
		'.': {"%2e", "%2E", "%EF%BC%8E", "%252e"}, '/': {"%2f", "//", "\\"}, ';': {"%3b", "%3B"},
	}
)

// Path makes one request path out of the grammar, into b, which may be nil. It is seldom a valid one, holds any bytes
// and may hold a query. The same state of rnd gives the same path.
func Path(rnd *rand.Rand, b []byte) string {
	b = b[:0]
	if rnd.IntN(60) != 0 {
		b = append(b, '/')
	}
	trouble := rnd.IntN(4) // how much of it
	for n := 1 + rnd.IntN(4); n > 0; n-- {
		segment := pick(rnd, segments)
		if rnd.IntN(4) < trouble {
			b = misspell(rnd, b, segment)
		} else {
			b = append(b, segment...)
		}
		if rnd.IntN(8) < trouble {
			b = append(b, pick(rnd, tails)...)
		}
		switch {
		case n > 1 && rnd.IntN(6) < trouble:
			b = append(b, pick(rnd, joints)...)
		case n > 1:
			b = append(b, '/')
		}
	}
	if trouble == 3 && rnd.IntN(12) == 0 && len(b) > 0 {
		b[rnd.IntN(len(b))] = byte(rnd.IntN(256))
	}
	return string(b)
}

// misspell writes a segment with some of its letters in another way.
func misspell(rnd *rand.Rand, b []byte, segment string) []byte {
	often := 1 + rnd.IntN(8)
	for i := range len(segment) {
		c := segment[i]
		switch other := letters[c]; {
		case other != nil && rnd.IntN(often) == 0:
			b = append(b, pick(rnd, other)...)
		case rnd.IntN(40) == 0:
			b = append(b, '%', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		default:
			b = append(b, c)
		}
	}
	return b
}

func pick(rnd *rand.Rand, from []string) string { return from[rnd.IntN(len(from))] }
