package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

func TestCookieRead(t *testing.T) {
	t.Parallel()
	c := session.NewCookies(config.Cookie{Name: "sid"}, time.Hour)
	for _, test := range []struct {
		name  string
		lines []string
		token string
		n     int
	}{
		{"none", nil, "", 0},
		{"empty header", []string{""}, "", 0},
		{"one", []string{"sid=good"}, "good", 1},
		{"among others", []string{"a=1; sid=good; b=2"}, "good", 1},
		{"without blanks", []string{"a=1;sid=good;b=2"}, "good", 1},
		{"many blanks", []string{" \ta=1 ;\t sid = good ;"}, "good", 1},
		{"tossed before", []string{"sid=evil; sid=good"}, "", 2},
		{"tossed after", []string{"sid=good; sid=evil"}, "", 2},
		{"the same twice", []string{"sid=good; sid=good"}, "", 2},
		{"in two headers", []string{"sid=good", "sid=evil"}, "", 2},
		{"tossed and empty", []string{"sid=; sid=good"}, "", 2},
		{"tossed without value", []string{"sid; sid=good"}, "", 2},
		{"quoted pair that hides one", []string{`a="; sid=evil; b="; sid=good`}, "", 2},
		{"a pair net/http drops", []string{"sid=e\x7fvil; sid=good"}, "", 2},
		{"another case is another name", []string{"SID=x; Sid=y; sid=good"}, "good", 1},
		{"longer and shorter names", []string{"sid2=x; xsid=y; si=z; sid=good"}, "good", 1},
		{"in a value", []string{"a=sid=evil; sid=good"}, "good", 1},
		{"value with equals signs", []string{"sid=a=b="}, "a=b=", 1},
		{"empty", []string{"sid="}, "", 1},
		{"unicode blank is no blank", []string{"\u00a0sid=evil; sid=good"}, "good", 1},
	} {
		t.Run("S01_"+strings.ReplaceAll(test.name, " ", "_"), func(t *testing.T) {
			h := http.Header{}
			for _, line := range test.lines {
				h.Add("Cookie", line)
			}
			if token, n := c.Read(h); token != test.token || n != test.n {
				t.Errorf("%q, %d; want %q, %d", token, n, test.token, test.n)
			}
		})
	}
}

func TestCookieNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		cfg  config.Cookie
		want string
	}{
		{config.Cookie{Secure: true}, "__Host-gatehouse"},
		{config.Cookie{Secure: false}, "gatehouse"},
		{config.Cookie{Secure: true, Domain: "example.com"}, "gatehouse"},
		{config.Cookie{Secure: true, Name: "mine"}, "mine"},
	} {
		if got := session.NewCookies(test.cfg, time.Hour).Name(); got != test.want {
			t.Errorf("%+v: %s, want %s", test.cfg, got, test.want)
		}
	}
}

func TestCookieText(t *testing.T) {
	t.Parallel()
	token := session.NewToken("u")
	write := func(c *http.Cookie) string {
		w := httptest.NewRecorder()
		http.SetCookie(w, c)
		return w.Header().Get("Set-Cookie")
	}
	secure := session.NewCookies(config.Cookie{Secure: true, SameSite: "lax"}, time.Hour)
	wide := session.NewCookies(config.Cookie{SameSite: "strict", Domain: "example.com"}, time.Hour)
	none := session.NewCookies(config.Cookie{Secure: true, SameSite: "none"}, time.Hour)
	for name, test := range map[string][2]string{
		"set": {write(secure.Set(token, time.Minute)),
			"__Host-gatehouse=" + token + "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=Lax"},
		"clear": {write(secure.Clear()), "__Host-gatehouse=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		"wide":  {write(wide.Set(token, time.Minute)), "gatehouse=" + token + "; Path=/; Domain=example.com; Max-Age=60; HttpOnly; SameSite=Strict"},
		"none":  {write(none.Set(token, time.Minute)), "__Host-gatehouse=" + token + "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"},
		"never past the absolute limit": {write(secure.Set(token, 100*time.Hour)),
			"__Host-gatehouse=" + token + "; Path=/; Max-Age=3600; HttpOnly; Secure; SameSite=Lax"},
		"never an instruction to delete": {write(secure.Set(token, -time.Hour)),
			"__Host-gatehouse=" + token + "; Path=/; Max-Age=1; HttpOnly; Secure; SameSite=Lax"},
	} {
		if test[0] != test[1] {
			t.Errorf("%s: %s\nwant %s", name, test[0], test[1])
		}
	}
}

// What is set is read; and whatever a client sends, a token comes out only when the name stands
// there once, by a count that knows nothing of how Read works.
func FuzzCookies(f *testing.F) {
	f.Add("sid=x; a=b", "sid=y")
	f.Add("", "=;=sid;sid")
	f.Fuzz(func(t *testing.T, a, b string) {
		c := session.NewCookies(config.Cookie{Name: "sid"}, time.Hour)
		token, n := c.Read(http.Header{"Cookie": {a, b}})
		want := 0
		for _, pair := range strings.Split(a+";"+b, ";") {
			name := strings.Trim(strings.SplitN(pair, "=", 2)[0], " \t")
			if name == "sid" {
				want++
			}
		}
		if n != want || n != 1 && token != "" || strings.Contains(token, ";") {
			t.Errorf("%q, %q: %q, %d; want %d", a, b, token, n, want)
		}
	})
}
