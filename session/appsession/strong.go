package appsession

import (
	"math"
	"regexp"
	"strings"
)

const (
	strongBits = 128
	// minDistinct is how many different characters a random token has at the least. One of 32 hexadecimal
	// digits has fewer once in ten million; "0000...1" always has.
	minDistinct = 8
)

// uuidForm is a UUID, and so are 32 hexadecimal digits with the version and the variant of one.
var uuidForm = regexp.MustCompile(
	`^(?i:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{12}[147][0-9a-f]{3}[89ab][0-9a-f]{15})$`)

// Strong reports whether a token's form has room for 128 bits of randomness: its length times what a
// character of the alphabet holds that is seen in it.
//
//	decimal digits only         never: such tokens are numbers, counted or drawn from a small range
//	hexadecimal digits          4 bits, so 32 characters
//	letters of one case, digits 5 bits, so 26 characters
//	letters of both cases       5.7 bits, so 23 characters
//	... with digits or -_,+/    5.95 bits, so 22 characters
//
// A UUID is never strong: version 4 has 122 random bits, version 1 none. Thirty-two hexadecimal digits that
// look like version 1, 4 or 7 count as one too; of random ones, one in twenty does. Other characters make
// a token weak: a separator means a structure, and what of it is random cannot be seen.
//
// The form is an upper bound, it proves nothing: md5(time()) looks as strong as randomness. The errors
// that it makes otherwise cost a rotation of the token, which nobody notices.
func Strong(token string) bool {
	if uuidForm.MatchString(token) {
		return false
	}
	text := strings.TrimRight(token, "=")
	return float64(len(text))*bitsPerCharacter(text) >= strongBits
}

func bitsPerCharacter(text string) float64 {
	var digit, lower, upper, beyondF, symbol bool
	var seen [256]bool
	distinct := 0
	for _, c := range []byte(text) {
		if !seen[c] {
			seen[c] = true
			distinct++
		}
		switch {
		case c >= '0' && c <= '9':
			digit = true
		case c >= 'a' && c <= 'z':
			lower = true
			beyondF = beyondF || c > 'f'
		case c >= 'A' && c <= 'Z':
			upper = true
			beyondF = beyondF || c > 'F'
		case strings.IndexByte("-_,+/", c) >= 0:
			symbol = true
		default:
			return 0
		}
	}
	mixed := lower && upper
	switch {
	case distinct < minDistinct, !lower && !upper, symbol && !mixed:
		return 0
	case !beyondF && !symbol:
		return 4
	case !mixed:
		return 5
	case digit || symbol:
		return math.Log2(62)
	default:
		return math.Log2(52)
	}
}
