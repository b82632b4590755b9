package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"gatehouse/session"
)

// told gives a change as text.
func told(c session.Change) string {
	text, err := json.Marshal(struct {
		Name, Role    *string `json:",omitempty"`
		EmailVerified *bool   `json:",omitempty"`
	}{c.Name, c.Role, c.EmailVerified})
	if err != nil {
		panic(err)
	}
	return string(text)
}

func TestParseChange(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ body, want, says string }{
		{`{"role":"member"}`, `{"Role":"member"}`, ""},
		{` { "role" : "" , "name":"A\u0042" , "emailVerified" : false } `, `{"Name":"AB","Role":"","EmailVerified":false}`, ""},
		{`{"name":"\ud83d\ude00"}`, `{"Name":"😀"}`, ""},
		{``, "", "no JSON object"},
		{`null`, "", "no JSON object"},
		{`[]`, "", "no JSON object"},
		{`"role"`, "", "no JSON object"},
		{`{`, "", "no complete"},
		{`{"role"`, "", "no complete"},
		{`{"role":`, "", "no complete"},
		{`{"role":"x"`, "", "no complete"},
		{`{"role":"x",}`, "", "no complete"},
		{`{"role" "x"}`, "", "no complete"},
		{`{"role":"x"}{}`, "", "behind"},
		{`{"role":"x"} x`, "", "behind"},
		{`{}`, "", "nothing to change"},
		{`{"Role":"x"}`, "", "not known"},
		{`{"email":"x"}`, "", "not known"},
		{`{"role":"x","role":"y"}`, "", "twice"},
		{`{"role":"x","userId":"1"}`, "", "not known"},
		{`{"role":null}`, "", `"role" must be a text`},
		{`{"role":1}`, "", `"role" must be a text`},
		{`{"role":["admin"]}`, "", `"role" must be a text`},
		{`{"emailVerified":"true"}`, "", `must be true or false`},
		{`{"emailVerified":null}`, "", `must be true or false`},
		{`{"name":"\ud800"}`, "", "half a character"},
		{"{\"name\":\"\xff\"}", "", "not UTF-8"},
		{"\ufeff{\"name\":\"x\"}", "", "no JSON object"},
	} {
		got, err := parseChange([]byte(c.body))
		switch {
		case c.says == "" && (err != nil || told(got) != c.want):
			t.Errorf("%s: %s, %v; want %s", c.body, told(got), err, c.want)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %q", c.body, err, c.says)
		}
	}
}

// FuzzParseChange: what is taken is what every reader of JSON finds in it, and nothing else.
func FuzzParseChange(f *testing.F) {
	for _, seed := range []string{`{"role":"member"}`, `{"name":"\ud83d\ude00","emailVerified":true}`, `{"role":"a","role":"b"}`, `{`, `{"role":null}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, err := parseChange(body)
		if err != nil {
			return
		}
		var plain map[string]any
		if err := json.Unmarshal(body, &plain); err != nil {
			t.Fatalf("taken, and no JSON: %v", err)
		}
		fields := 0
		for name, text := range map[string]*string{"name": got.Name, "role": got.Role} {
			if text == nil {
				continue
			}
			if fields++; plain[name] != *text || !utf8.ValidString(*text) {
				t.Errorf("%s is %q, others read %v", name, *text, plain[name])
			}
		}
		if got.EmailVerified != nil {
			if fields++; plain["emailVerified"] != *got.EmailVerified {
				t.Errorf("emailVerified is %v, others read %v", *got.EmailVerified, plain["emailVerified"])
			}
		}
		if fields == 0 || fields != len(plain) || got.Email != nil {
			t.Errorf("%d fields of %v", fields, plain)
		}
	})
}
