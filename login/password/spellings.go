package password

import (
	"slices"
	"strings"
)

// addSlashes is PHP's addslashes.
var addSlashes = strings.NewReplacer(`\`, `\\`, `'`, `\'`, `"`, `\"`, "\x00", `\0`)

// trimPHP is PHP's trim.
func trimPHP(s string) string { return strings.Trim(s, " \t\n\r\x00\x0b") }

// wordPressSpellings are the passwords that WordPress may have hashed for what is typed now. It trims
// them, and its forms hash them with backslashes before quotes and backslashes (wp_signon and the
// profile page do not take away what wp_magic_quotes added), while its command line does not. Most
// passwords give one spelling; for the others the work is done twice, whatever the account.
func wordPressSpellings(password string) []string {
	trimmed := trimPHP(password)
	return distinct(addSlashes.Replace(trimmed), trimmed)
}

// phpassSpellings are those of $P$ and $H$, which WordPress made until 6.8, and programs that leave
// passwords alone still make.
func phpassSpellings(password string) []string {
	return distinct(append(wordPressSpellings(password), password)...)
}

// drupalSpellings are those of $S$: Drupal trims passwords in its forms.
func drupalSpellings(password string) []string { return distinct(password, trimPHP(password)) }

func distinct(all ...string) (list []string) {
	for _, s := range all {
		if !slices.Contains(list, s) {
			list = append(list, s)
		}
	}
	return list
}

// bounded cuts a password that is longer than MaxLength, for schemes whose work grows with it: the
// body of a login may have 64 KiB, and hashing it a million times over would take minutes. ok says
// whether the password was left whole; else it must not match.
func bounded(password string) (key []byte, ok bool) {
	if len(password) > MaxLength {
		return []byte(password[:MaxLength]), false
	}
	return []byte(password), true
}
