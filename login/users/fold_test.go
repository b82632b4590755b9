package users_test

import (
	"testing"
	"unicode"

	"gatehouse/login/users"
)

func TestFold(t *testing.T) {
	t.Parallel()
	t.Run("L03_one_account", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct{ name, a, b string }{
			{"case", "Bob@Example.com", "bob@example.com"},
			{"space around", "bob ", "bob"},
			{"no-break and ideographic space", "\u00a0bob\u3000", "bob"},
			{"full width", "\uff42\uff4f\uff42@example.com", "bob@example.com"},
			{"ligature", "\ufb01ona", "fiona"},
			{"composed", "Jos\u00e9", "jose\u0301"},
			{"sharp s", "STRASSE", "straße"},
			{"Kelvin sign", "\u212aarl", "karl"},
			{"final sigma", "ΝΙΚΟΣ", "νικος"},
			{"soft hyphen", "b\u00adob", "bob"},
			{"zero-width space", "bo\u200bb", "bob"},
			{"mathematical bold", "\U0001d41bob", "bob"},
		} {
			if a, b := users.Fold(tt.a), users.Fold(tt.b); a != b {
				t.Errorf("%s: %q and %q are two accounts: %q, %q", tt.name, tt.a, tt.b, a, b)
			}
		}
	})
	t.Run("different accounts stay different", func(t *testing.T) {
		t.Parallel()
		for _, pair := range [][2]string{{"bob", "b ob"}, {"bob@a.example", "bob@b.example"}, {"bob", "bób"}, {"", "a"}, {"1", "l"}} {
			if users.Fold(pair[0]) == users.Fold(pair[1]) {
				t.Errorf("%q and %q are one account", pair[0], pair[1])
			}
		}
	})
}

// Every character and its variants of case are one account, and folding has an end.
func TestFoldOfEveryCharacter(t *testing.T) {
	t.Parallel()
	for r := rune(0); r <= 0x1ffff; r++ {
		if unicode.In(r, unicode.Han, unicode.Hangul, unicode.Co) || !unicode.IsGraphic(r) {
			continue // many, and without case
		}
		folded := users.Fold(string(r))
		if again := users.Fold(folded); again != folded {
			t.Errorf("%U folds to %+q, which folds to %+q", r, folded, again)
		}
		if other := users.Fold(string(unicode.SimpleFold(r))); other != folded {
			t.Errorf("%U and %U fold to %+q and %+q", r, unicode.SimpleFold(r), folded, other)
		}
	}
}

func FuzzFold(f *testing.F) {
	for _, s := range []string{"Bob", "\u0345\u03b1", "ΐ", "\uff21\u3000", "\u1e9b\u0323", "\xff\xfe", "ﬃ ", "\u037a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := users.Fold(s)
		if twice := users.Fold(once); twice != once {
			t.Errorf("%q folds to %q, which folds to %q", s, once, twice)
		}
		if users.Fold(" "+s+"\n") != once {
			t.Errorf("spaces around %q count", s)
		}
	})
}
