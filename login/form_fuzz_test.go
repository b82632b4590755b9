package login

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// formModel is how one kind of application reads a field out of an urlencoded body. They err on the side of
// the attacker: what a server does in some version or setting, the model does always.
type formModel struct {
	name string
	// read gives the account this application would look up, or "" when it finds none.
	read func(body, field string) string
}

// pair is one field of a body, decoded.
type pair struct{ name, value string }

func pairsOf(body, separators string) []pair {
	var out []pair
	for _, text := range strings.FieldsFunc(body, func(r rune) bool { return strings.ContainsRune(separators, r) }) {
		name, value, _ := strings.Cut(text, "=")
		out = append(out, pair{lenient(name), lenient(value)})
	}
	return out
}

// lenient decodes what can be decoded and leaves the rest: %zz stays %zz.
func lenient(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && unhex(s[i+1]) >= 0 && unhex(s[i+2]) >= 0:
			b.WriteByte(byte(unhex(s[i+1])<<4 | unhex(s[i+2])))
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func unhex(c byte) int {
	return strings.IndexByte("0123456789abcdef", strings.ToLower(string(rune(c)))[0])
}

// firstOf and lastOf are the value of the first or last pair whose name fits.
func firstOf(pairs []pair, fits func(name string) bool) string {
	for _, p := range pairs {
		if fits(p.name) {
			return p.value
		}
	}
	return ""
}

func lastOf(pairs []pair, fits func(name string) bool) string {
	pairs = slices.Clone(pairs)
	slices.Reverse(pairs)
	return firstOf(pairs, fits)
}

// phpName is the variable PHP makes of a field's name (php_register_variable_ex): it ends at a NUL, loses
// blanks in front, and has underscores for dots and blanks. Of name[...] only the name is given: it is an array, and there are
// query builders that take the first thing in an array for the value (Laravel).
func phpName(name string) string {
	name, _, _ = strings.Cut(name, "\x00")
	name = strings.TrimLeft(name, " ")
	if i := strings.IndexByte(name, '['); i > 0 {
		if !strings.Contains(name[i:], "]") {
			return strings.NewReplacer(".", "_", " ", "_", "[", "_").Replace(name)
		}
		name = name[:i]
	}
	return strings.NewReplacer(".", "_", " ", "_").Replace(name)
}

// rackName is the last key of Rack's nested names: user[email] is email.
func rackName(name string) string {
	name = strings.TrimRight(name, "[]")
	return name[strings.LastIndexAny(name, "[]")+1:]
}

var formModels = []formModel{
	{"the first one", func(body, field string) string {
		return firstOf(pairsOf(body, "&"), func(n string) bool { return n == field })
	}},
	{"the last one", func(body, field string) string {
		return lastOf(pairsOf(body, "&"), func(n string) bool { return n == field })
	}},
	{"semicolons separate", func(body, field string) string {
		return lastOf(pairsOf(body, "&;"), func(n string) bool { return n == field })
	}},
	{"any case", func(body, field string) string {
		return firstOf(pairsOf(body, "&"), func(n string) bool { return strings.EqualFold(n, field) })
	}},
	{"PHP", func(body, field string) string {
		return lastOf(pairsOf(body, "&"), func(n string) bool { return phpName(n) == field })
	}},
	{"Rack, nested", func(body, field string) string {
		return lastOf(pairsOf(body, "&"), func(n string) bool { return rackName(n) == field })
	}},
}

// FuzzLoginForm: whatever a login's body looks like, no application finds an account in it that the gateway
// has not counted (L03), and the gateway's own form is read like everybody reads it (L06).
func FuzzLoginForm(f *testing.F) {
	for _, seed := range []string{
		"email=bob&password=x", "email=a&email=b", "user[email]=bob", "email[]=bob", "email%00x=bob", "+email=bob", "%20email=bob", "e%6dail=b%6fb",
		"EMAIL=Bob", "email.x=1", "email=a;email=b", "a=%zz&email=b", "email[$eq]=b", "email[A]=b", "user[email][a][b]=bob", "user.email=b", "=&&email", "email=%ef%bd%82ob", "a&email=b=c",
	} {
		f.Add(seed)
	}
	fields := []string{foldField("email"), foldField("_username")}
	header := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	f.Fuzz(func(t *testing.T, body string) {
		if accounts, err := accountsOf(header, "", []byte(body), fields); err == nil {
			for _, m := range formModels {
				for _, field := range []string{"email", "_username"} {
					// What is no text finds nobody in a table of users.
					if got := fold(m.read(body, field)); got != "" && utf8.ValidString(got) && !slices.Contains(accounts, got) {
						t.Fatalf("%s: %q logs %q in, counted are %q", m.name, body, got, accounts)
					}
				}
			}
		}
		form, err := parseFields([]byte(body), fieldAccount, fieldPassword)
		if err != nil {
			return
		}
		strict, err := url.ParseQuery(body)
		if err != nil {
			t.Fatalf("%q is read, and is no form: %v", body, err)
		}
		for _, name := range []string{fieldAccount, fieldPassword} {
			if len(strict[name]) > 1 {
				t.Fatalf("%q has two of %s", body, name)
			}
			for _, m := range formModels[:3] {
				if got := m.read(body, name); got != form.Get(name) {
					t.Fatalf("%s: %q has the %s %q, here %q", m.name, body, name, got, form.Get(name))
				}
			}
		}
	})
}
