package login

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/config"
)

var plainInteger = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// FuzzIdentityJSON: whoever an accepted text names, encoding/json sees the same in it, and there is no
// second way to read it (I02).
func FuzzIdentityJSON(f *testing.F) {
	for _, seed := range []string{
		`{"id":9007199254740993,"email":"a@b"}`, `{"id":"x","role":1}`, `{"id":1,"id":2}`, `{"id":1.0}`, `{"id":1e3}`, `{"ID":1}`, `{"id":-0}`,
		`{"id":"\ud800"}`, "{\"id\":\"\xff\"}", `{"id":1} `, `{"id":1}x`, `{"id":null}`, `{"id":{"id":1}}`, `{"\u0069d":1}`, `{"id":1,"a":[{"b":1,"b":1}]}`,
	} {
		f.Add([]byte(seed))
	}
	fields := config.IdentityFields{UserID: "id", Email: "email", Name: "name", Role: "role"}
	f.Fuzz(func(t *testing.T, text []byte) {
		user, err := identityFromJSON(text, fields)
		if err != nil {
			if user.ID != "" {
				t.Fatalf("refused, and yet %q", user.ID)
			}
			return
		}
		if !utf8.Valid(text) || !json.Valid(text) {
			t.Fatal("accepted what is no JSON")
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(text, &members); err != nil {
			t.Fatal(err)
		}
		if keys := topKeys(t, text); keys != len(members) {
			t.Fatalf("%d keys, %d members", keys, len(members))
		}
		raw := string(members["id"])
		if strings.HasPrefix(raw, `"`) {
			var s string
			if err := json.Unmarshal(members["id"], &s); err != nil || s != user.ID || s == "" || strings.TrimSpace(s) != s {
				t.Fatalf("%s became %q, %v", raw, user.ID, err)
			}
		} else if raw != user.ID || !plainInteger.MatchString(raw) {
			t.Fatalf("%s became %q", raw, user.ID)
		}
	})
}

func topKeys(t *testing.T, text []byte) int {
	dec := json.NewDecoder(bytes.NewReader(text))
	if _, err := dec.Token(); err != nil {
		t.Fatal(err)
	}
	keys := 0
	for dec.More() {
		if _, err := dec.Token(); err != nil {
			t.Fatal(err)
		}
		var skip json.RawMessage
		if err := dec.Decode(&skip); err != nil {
			t.Fatal(err)
		}
		keys++
	}
	return keys
}
