package appsession_test

import (
	"strings"
	"testing"

	"gatehouse/session/appsession"
)

func TestPlainCookie(t *testing.T) {
	t.Parallel()
	// Django's SECRET_KEY is for the payload; it does not bother here.
	cookie, err := appsession.NewCookie("plain", "sessionid", []string{"", "x"})
	if err != nil {
		t.Fatal(err)
	}
	for value, want := range map[string]string{
		"abc": "abc", "a.b-c_d~e:f|g": "a.b-c_d~e:f|g", "ab%2Bc%2F%3D%3D": "ab+c/==", "ab+c/==": "ab+c/==", `"abc"`: "abc", "a%": "a%", "a%zz": "a%zz",
		"%ff": "%ff", "": "", `""`: "", "a%00b": "", "a\x00b": "", "a b": "", "a%20b": "", "a%0Ab": "", "a\x7f": "", "é": "", "%C3%A9": "", "a\xff": "",
		strings.Repeat("a", appsession.MaxCookie): strings.Repeat("a", appsession.MaxCookie), strings.Repeat("a", appsession.MaxCookie+1): "",
	} {
		if token, ok := cookie.Token(value); token != want || ok != (want != "") {
			t.Errorf("%q: %q, %v, want %q", value, token, ok, want)
		}
	}
}

func TestNewCookie(t *testing.T) {
	t.Parallel()
	const key16, key32 = "0123456789abcdef", "0123456789abcdef0123456789abcdef"
	for _, c := range []struct {
		name, scheme, cookie string
		secrets              []string
		problem              string // "" when it is taken
	}{
		{"plain", "plain", "sid", nil, ""},
		{"express", "express", "connect.sid", []string{"x"}, ""},
		{"laravel, 16 bytes", "laravel", "s", []string{key16}, ""},
		{"laravel, both", "laravel", "s", []string{key32, "base64:" + "MDEyMzQ1Njc4OWFiY2RlZg=="}, ""},
		{"no name", "plain", "", nil, "no name"},
		{"unknown", "Express", "sid", []string{"x"}, `"Express"`},
		{"none", "", "sid", []string{"x"}, "plain, express or laravel"},
		{"express without", "express", "sid", nil, "needs the application's secret"},
		{"laravel without", "laravel", "sid", nil, "needs the application's secret"},
		{"express, empty", "express", "sid", []string{"x", ""}, "secret 2"},
		{"laravel, empty", "laravel", "sid", []string{""}, "secret 1"},
		{"laravel, short", "laravel", "sid", []string{key32, "top-s3cret"}, "secret 2 of the application's cookie has 10 bytes"},
		{"laravel, no base64", "laravel", "sid", []string{"base64:top-s3cret"}, "no base64"},
		{"laravel, base64 cut away", "laravel", "sid", []string{"MDEyMzQ1Njc4OWFiY2RlZg=="}, "24 bytes"},
		{"laravel, base64 of too little", "laravel", "sid", []string{"base64:czNjcmV0"}, "6 bytes"},
	} {
		cookie, err := appsession.NewCookie(c.scheme, c.cookie, c.secrets)
		switch {
		case c.problem == "":
			if err != nil || cookie == nil {
				t.Errorf("%s: %v", c.name, err)
			}
		case err == nil || cookie != nil || !strings.Contains(err.Error(), c.problem):
			t.Errorf("%s: %v, want %q", c.name, err, c.problem)
		case strings.Contains(err.Error(), "s3cret") || strings.Contains(err.Error(), "czNj"):
			t.Errorf("%s: quotes the secret: %v", c.name, err)
		}
	}
}

// Values that no secret was ever needed for.
func TestForgedCookies(t *testing.T) {
	t.Parallel()
	const key = "0123456789abcdef0123456789abcdef"
	for _, scheme := range []string{"express", "laravel"} {
		cookie, err := appsession.NewCookie(scheme, "sid", []string{key})
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range []string{
			"abc", "s:", "s:.", "s:abc", "s:abc.", "s:abc.def", "s%3Aabc.", "j:{}", "s:s:abc.x", "{}", "e30=", "W10=", "bnVsbA==", "IiI=", "eyJpdiI6MX0=",
			"eyJpdiI6IiIsInZhbHVlIjoiIiwibWFjIjoiIn0=", "eyJpdiI6IkFBQUFBQUFBQUFBQUFBQUEiLCJ2YWx1ZSI6IiIsIm1hYyI6IiIsInRhZyI6IkFBQUFBQUFBQUFBQUFBQUFBQUFBQUE9PSJ9",
			"eyJ0YWciOiJBQUFBIn0=", strings.Repeat("A", appsession.MaxCookie), strings.Repeat("s:", 100),
		} {
			if token, ok := cookie.Token(value); ok || token != "" {
				t.Errorf("%s: took %q as %q", scheme, value, token)
			}
		}
	}
}

// A cookie of one name must not serve under another: the mark in it is for its name.
func TestLaravelName(t *testing.T) {
	t.Parallel()
	for _, v := range committed(t, "laravel") {
		if v.Want == "" || strings.Contains(v.Name, "before") {
			continue
		}
		cookie, err := appsession.NewCookie(v.Scheme, "other_session", v.Secrets)
		if err != nil {
			t.Fatal(err)
		}
		if token, ok := cookie.Token(v.Value); ok {
			t.Errorf("%s: %q under another name", v.Name, token)
		}
	}
}

// FuzzCookie: no cookie is taken but with a token that somebody with the secret made.
func FuzzCookie(f *testing.F) {
	var cookies []*appsession.Cookie
	made := map[string]bool{}
	for _, folder := range []string{"express", "laravel"} {
		for _, v := range committed(f, folder) {
			if v.Kind != "cookie" {
				continue
			}
			f.Add(v.Value)
			cookie, err := appsession.NewCookie(v.Scheme, v.Cookie, v.Secrets)
			if err != nil {
				f.Fatal(err)
			}
			cookies, made[v.Want] = append(cookies, cookie), true
		}
	}
	f.Fuzz(func(t *testing.T, value string) {
		for _, cookie := range cookies {
			if token, ok := cookie.Token(value); ok == (token == "") || !made[token] {
				t.Fatalf("%q, %v", token, ok)
			}
		}
	})
}
