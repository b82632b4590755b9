package users

import (
	"strings"
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
	account = strings.TrimSpace(strings.ToValidUTF8(account, "\ufffd"))
	// Each step can make work for another: folding takes apart what NFKC had put together, NFKC turns
	// exotic spaces into plain ones. Three rounds are more than any known text takes.
	for range 3 {
		folded := norm.NFKC.String(cases.Fold().String(norm.NFKC.String(account)))
		// x/text folds small Cherokee letters to capitals and capitals to small ones.
		folded = strings.TrimSpace(norm.NFKC.String(strings.ToLower(folded)))
		if folded == account {
			break
		}
		account = folded
	}
	return account
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
