package proxy

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// foldPath gives the form in which protected prefixes are compared (P07). What any server takes for
// the same path has the same folded form: other case, trailing dots and blanks of a segment (Windows
// drops them), doubled slashes, and beyond ASCII whatever Unicode calls compatible or the same
// without regard to case (the Kelvin sign is a k, the long s an s, a full-width slash a slash).
//
// Folding may bring distinct paths together. It is used to find protection, never to grant access.
// A path that is folded already is returned as it is, without an allocation.
func foldPath(s string) (string, *Refusal) {
	needed, high := needsFold(s)
	if !needed {
		return s, nil
	}
	if high {
		s = foldUnicode(s)
		// Two full-width dots are a dot segment to a server that normalises.
		if no := judgeSegments(s); no != nil {
			return "", no
		}
	}
	b := make([]byte, 0, len(s))
	for rest := s; rest != ""; {
		var segment string
		segment, rest, _ = strings.Cut(rest, "/")
		segment = strings.TrimLeft(strings.TrimRight(segment, ". "), " ")
		if segment == "" {
			continue
		}
		b = append(b, '/')
		for i := 0; i < len(segment); i++ {
			b = append(b, lower(segment[i]))
		}
	}
	return string(b), nil
}

// needsFold reports whether foldPath would change s, and whether s has more than ASCII.
func needsFold(s string) (needed, high bool) {
	var before byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c >= 'A' && c <= 'Z', c == ' ':
			needed = true
		case c >= utf8.RuneSelf:
			needed, high = true, true
		case c == '/' && (before == '/' || before == '.'):
			needed = true
		}
		before = c
	}
	return needed || before == '.', high
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + ('a' - 'A')
	}
	return c
}

// foldUnicode is close to Unicode's NFKC_Casefold, and beyond it takes the dotless i for an i and
// drops the dot that lower-casing İ leaves behind: to upper-casing and to lower-casing servers these
// are the same letter. Characters without a shape of their own are dropped.
func foldUnicode(s string) string {
	s = cases.Fold().String(norm.NFKC.String(s))
	s = strings.Map(func(c rune) rune {
		const dotAbove = '\u0307'
		switch {
		case c == 'ı':
			return 'i'
		case c == '\\':
			return '/'
		case c == dotAbove, unicode.In(c, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point):
			return -1
		}
		return c
	}, s)
	return norm.NFKC.String(s)
}
