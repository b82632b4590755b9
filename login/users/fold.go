package users

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// Fold makes all spellings of one account one: spaces around it, case, and compatibility variants
// (full-width letters, ligatures) do not count, as in Unicode's NFKC_Casefold. It is for looking up
// accounts and limiting them, not for showing them. Fold(Fold(x)) is Fold(x).
func Fold(account string) string {
	if isASCII(account) {
		return strings.ToLower(strings.TrimSpace(account)) // the same, sooner
	}
	// The tables are defined for characters only; around other bytes they depend on what stands beside.
	account = strings.TrimSpace(visible(strings.ToValidUTF8(account, "\ufffd")))
	// Each step can make work for another: folding takes apart what NFKC had put together, NFKC turns
	// exotic spaces into plain ones. Three rounds are more than any known text takes.
	for range 3 {
		folded := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(account)))
		// x/text folds small Cherokee letters to capitals and capitals to small ones.
		folded = strings.TrimSpace(visible(norm.NFKC.String(strings.ToLower(folded))))
		if folded == account {
			break
		}
		account = folded
	}
	return account
}

// visible drops characters without a shape of their own (soft hyphen, zero-width space): databases
// pass over them when they compare, so each would be a fresh account to the limit and the same one to
// the application.
func visible(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.In(c, unicode.Cf, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return -1
		}
		return c
	}, s)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
