package login_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/login"
	"gatehouse/session"
)

// FuzzVaultCookies: whatever application and browser send, no cookie of the vault reaches the browser
// and none of the browser's goes to the application under a name the vault owns. Go's own cookie
// parsers, which the vault does not use, are the judges.
func FuzzVaultCookies(f *testing.F) {
	f.Add("sid=1; Path=/; HttpOnly\nseen=1", "sid=0; seen=1", "/")
	f.Add("sid=1; HttpOnly\nsid=; Max-Age=0", "a=1, sid=0; \"sid\"=2", "/a/b")
	f.Add("a.b=1;httponly ;path=x\na=\x00; HttpOnly\n=x; HttpOnly", "a_b=0;;a.b;a%2eb=1", "")
	f.Add("a=\"x;y\"; expires=Thu, 01-Jan-70 00:00:00 GMT; HttpOnly", "a=\"b; a=c\"; =a=1", "/?x")
	f.Fuzz(func(t *testing.T, lines, client, path string) {
		if len(lines) > 8<<10 || strings.ContainsAny(client, "\r\n\x00") {
			return
		}
		sessions := &appSessions{records: map[session.ID]*session.Record{}}
		v := login.NewVault(httpOnly, sessions, zerolog.Nop(), func() time.Time { return time.Unix(1_900_000_000, 0) })
		token, rec, err := sessions.Create(t.Context(), session.Login{User: session.User{ID: "17"}, Began: began()})
		if err != nil {
			t.Fatal(err)
		}
		h := http.Header{"Set-Cookie": strings.Split(lines, "\n")}
		var owned []string
		for _, c := range (&http.Response{Header: h.Clone()}).Cookies() {
			if c.HttpOnly && !strings.ContainsFunc(c.Raw, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				owned = append(owned, c.Name)
			}
		}
		if len(owned) > 100 {
			return // beyond the bound the oldest are forgotten
		}
		if err := v.Incoming(t.Context(), rec, token, path, h); err != nil {
			t.Fatal(err)
		}
		for _, c := range (&http.Response{Header: h}).Cookies() {
			if c.HttpOnly || slices.Contains(owned, c.Name) && after(lines, c.Raw, owned) {
				t.Fatalf("%q reached the browser", c.Raw)
			}
		}
		for range 2 { // with the record from before, and with the one after
			alone, err1 := v.Outgoing(rec, token, path, "")
			both, err2 := v.Outgoing(rec, token, path, client)
			if err1 != nil || err2 != nil {
				t.Fatal(err1, err2)
			}
			passed, ok := strings.CutSuffix(both, alone)
			if !ok {
				t.Fatalf("%q does not end with the vault's %q", both, alone)
			}
			for _, c := range (&http.Request{Header: http.Header{"Cookie": {passed}}}).Cookies() {
				if slices.Contains(owned, c.Name) {
					t.Fatalf("the browser's %q went out in %q", c.Name, passed)
				}
			}
			if !strings.Contains(strings.ToLower(lines), "httponly") && both != client {
				t.Fatalf("%q became %q", client, both)
			}
			found, err := sessions.Find(t.Context(), token)
			if err != nil {
				t.Fatal(err)
			}
			rec = found.Record
		}
	})
}

// after reports whether raw stands behind a line that made its name the vault's: what the same
// answer set before that is the browser's still.
func after(lines, raw string, owned []string) bool {
	for line := range strings.SplitSeq(lines, "\n") {
		if line == raw {
			return false
		}
		for _, c := range (&http.Response{Header: http.Header{"Set-Cookie": {line}}}).Cookies() {
			if c.HttpOnly && slices.Contains(owned, c.Name) && strings.HasPrefix(strings.TrimSpace(raw), c.Name) {
				return true
			}
		}
	}
	return false
}
