package session

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func testRecord(user string) *Record {
	key, _ := ParseToken(NewToken(user))
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.FixedZone("", 3600))
	return &Record{
		Version: 1, ID: key.ID, User: User{ID: user, Email: "a@example.com", Name: "A", EmailVerified: true, Role: "admin"},
		CreatedAt: at, LastAccessed: at.Add(time.Hour), ExpiresAt: at.Add(720 * time.Hour), Backend: "file",
	}
}

func encode(t *testing.T, r *Record) string {
	t.Helper()
	text, err := encodeRecord(r)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestRecordText(t *testing.T) {
	t.Parallel()
	r := testRecord("42")
	r.Sealed, r.IP, r.UserAgent = []byte{0xfb, 0xff}, "::1", "x"
	r.Unknown = map[string]json.RawMessage{"b": json.RawMessage(`[]`), "a": json.RawMessage(`{"n":12345678901234567890}`)}
	want := `{"v":1,"id":"` + r.ID.String() + `","userId":42,"email":"a@example.com","name":"A","emailVerified":true,"role":"admin",` +
		`"createdAt":"2026-03-01T11:00:00.123Z","lastAccessed":"2026-03-01T12:00:00.123Z","expiresAt":"2026-03-31T11:00:00.123Z",` +
		`"backend":"file","ip":"::1","userAgent":"x","a":{"n":12345678901234567890},"b":[],"sealed":"+/8="}`
	got := encode(t, r)
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	back, err := decodeRecord(got, r.Key())
	if err != nil {
		t.Fatal(err)
	}
	if again := encode(t, back); again != want {
		t.Errorf("after a rewrite: %s", again)
	}
	if back.raw != got {
		t.Error("the text it was read from is lost")
	}
}

func TestUserIDs(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"0": `0`, "7": `7`, "9007199254740991": `9007199254740991`, // 2^53 - 1
		"9007199254740992": `"9007199254740992"`, "9007199254740993": `"9007199254740993"`, "99999999999999999": `"99999999999999999"`,
		"007": `"007"`, "-5": `"-5"`, "-0": `"-0"`, "1.0": `"1.0"`, "1e3": `"1e3"`, "+1": `"+1"`, " 1": `" 1"`, "٣": `"٣"`, "x": `"x"`,
	} {
		text := encode(t, testRecord(id))
		if !strings.Contains(text, `"userId":`+want+`,`) {
			t.Errorf("%q is written as %s", id, text)
		}
		if got, err := parseRecord(text); err != nil || got.User.ID != id {
			t.Errorf("%q is read as %q, %v", id, got.User.ID, err)
		}
		// Others may write it the other way; no digit is lost.
		other := strings.Replace(text, `"userId":`+want, `"userId":"`+id+`"`, 1)
		if got, err := parseRecord(other); err != nil || got.User.ID != id {
			t.Errorf("%q as a string is read as %q, %v", id, got.User.ID, err)
		}
	}
	for _, number := range []string{"9007199254740993", "12345678901234567890123", "-5", "1.50"} {
		text := strings.Replace(encode(t, testRecord("7")), `"userId":7`, `"userId":`+number, 1)
		if got, err := parseRecord(text); err != nil || got.User.ID != number {
			t.Errorf("the number %s is read as %q, %v", number, got.User.ID, err)
		}
	}
}

func TestUserAgentIsCut(t *testing.T) {
	t.Parallel()
	for in, length := range map[string]int{
		"":                                   0,
		strings.Repeat("x", 256):             256,
		strings.Repeat("x", 257):             256,
		strings.Repeat("x", 255) + "ü":       255,
		strings.Repeat("€", 200):             255,
		"\xff" + strings.Repeat("x", 253):    256,
		strings.Repeat("\xff", 1000) + "abc": 6, // a run of rubbish becomes one sign
	} {
		if got := cutUserAgent(in); len(got) != length || !utf8.ValidString(got) {
			t.Errorf("%.20q is cut to %d bytes, want %d", in, len(got), length)
		}
	}
}

func TestRecordSize(t *testing.T) {
	t.Parallel()
	r := testRecord("u")
	r.User.Name = strings.Repeat("x", MaxRecordSize-len(encode(t, r))+len(r.User.Name))
	if len(encode(t, r)) != MaxRecordSize {
		t.Fatalf("%d bytes", len(encode(t, r)))
	}
	r.Sealed = make([]byte, 40<<10) // is not counted
	encode(t, r)
	r.Sealed = make([]byte, 49<<10)
	if _, err := encodeRecord(r); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	r.Sealed = nil
	r.User.Name += "x"
	if _, err := encodeRecord(r); !errors.Is(err, ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
}

func TestCloneShares(t *testing.T) {
	t.Parallel()
	r := testRecord("u")
	r.Sealed, r.Unknown = []byte{1}, map[string]json.RawMessage{"a": json.RawMessage(`1`)}
	c := r.Clone()
	c.Sealed[0], c.User.Role = 2, "x"
	c.Unknown["b"] = json.RawMessage(`2`)
	if r.Sealed[0] != 1 || r.User.Role != "admin" || len(r.Unknown) != 1 {
		t.Error("changing the clone changed the record")
	}
}

// Whatever stands in Redis: no panic, and what is accepted is rewritten to something that reads the same.
func FuzzRecord(f *testing.F) {
	r := testRecord("42")
	text, _ := encodeRecord(r)
	f.Add(text)
	f.Add(strings.Replace(text, "42", `"\u0000"`, 1))
	f.Add(strings.Replace(text, `"v":1`, `"v":1,"later":{"x":[1,2,{}]}`, 1))
	f.Fuzz(func(t *testing.T, raw string) {
		got, err := parseRecord(raw)
		if err != nil {
			return
		}
		again, err := encodeRecord(got)
		if err != nil {
			return // too large, or no user ID we would write
		}
		back, err := decodeRecord(again, got.Key())
		if err != nil {
			t.Fatalf("%q was read, its rewrite %q is not: %v", raw, again, err)
		}
		if back.User.ID != got.User.ID || back.ID != got.ID || back.Role != got.Role || len(back.Unknown) != len(got.Unknown) {
			t.Errorf("%+v became %+v", got, back)
		}
	})
}

func TestTokens(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		token := NewToken("u")
		key, ok := ParseToken(token)
		if !ok || len(token) != TokenLength || key.Tag != TagOf("u") || seen[token] {
			t.Fatalf("token %q", token)
		}
		seen[token] = true
		if id, ok := ParseID(key.ID.String()); !ok || id != key.ID {
			t.Fatal("an ID does not survive its text")
		}
		// One text for one token: any other last character is refused or another session.
		for _, c := range "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=+/ \n" {
			changed := token[:TokenLength-1] + string(c)
			if other, ok := ParseToken(changed); ok && changed != token && other.ID == key.ID {
				t.Fatalf("%q and %q are one session", token, changed)
			}
		}
	}
}

func FuzzParseToken(f *testing.F) {
	f.Add(NewToken("u"))
	f.Add("")
	f.Add(strings.Repeat("\n", TokenLength))
	f.Fuzz(func(t *testing.T, token string) {
		key, ok := ParseToken(token)
		if !ok {
			return
		}
		if len(token) != TokenLength || strings.ContainsAny(token, " \t\r\n;,=\"\\{}:*") {
			t.Errorf("%q is taken for a token", token)
		}
		name := keyspace{prefix: "p:"}.session(key)
		if id, ok := (keyspace{prefix: "p:"}).sessionID(name); !ok || id != key.ID {
			t.Errorf("%q is not read back", name)
		}
	})
}

func TestKeyNames(t *testing.T) {
	t.Parallel()
	k := keyspace{prefix: "app:"}
	key, _ := ParseToken(NewToken("a}b"))
	tag := string(TagOf("a}b"))
	for got, want := range map[string]string{
		k.session(key):      "app:session:{" + tag + "}:" + key.ID.String(),
		k.index("a}b"):      "app:user_sessions:{" + tag + "}:a}b",
		k.generation("a}b"): "app:user_gen:{" + tag + "}:a}b",
		k.sequence():        "app:login_seq",
	} {
		if got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	good := k.session(key)
	for _, other := range []string{"", "app:", good[4:], good + "x", good[:len(good)-1], k.index("u"), "app:session:{}:" + key.ID.String(), "x" + good} {
		if id, ok := k.sessionID(other); ok {
			t.Errorf("%q is taken for the key of %v", other, id)
		}
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	token, other := NewToken("u"), NewToken("u")
	key, _ := ParseToken(token)
	otherKey, _ := ParseToken(other)
	secrets := []byte("laravel_session=abc")
	sealed, err := seal(token, key.ID, secrets)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := unseal(token, key.ID, sealed); err != nil || !reflect.DeepEqual(got, secrets) {
		t.Errorf("%q, %v", got, err)
	}
	again, _ := seal(token, key.ID, secrets)
	if reflect.DeepEqual(sealed, again) {
		t.Error("a nonce was used twice")
	}
	if got, err := seal(token, key.ID, nil); err != nil || got != nil {
		t.Errorf("sealing nothing gives %v, %v", got, err)
	}
	for name, open := range map[string]func() ([]byte, error){
		"another token":         func() ([]byte, error) { return unseal(other, key.ID, sealed) },
		"another session":       func() ([]byte, error) { return unseal(token, otherKey.ID, sealed) },
		"truncated":             func() ([]byte, error) { return unseal(token, key.ID, sealed[:len(sealed)-1]) },
		"shorter than a nonce":  func() ([]byte, error) { return unseal(token, key.ID, sealed[:5]) },
		"changed":               func() ([]byte, error) { c := append([]byte{}, sealed...); c[20] ^= 1; return unseal(token, key.ID, c) },
		"the session ID as key": func() ([]byte, error) { return unseal(key.ID.String(), key.ID, sealed) },
	} {
		if got, err := open(); !errors.Is(err, errSealed) || got != nil || strings.Contains(err.Error(), token) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}
