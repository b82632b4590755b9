package login_test

import (
	"net/url"
	"strings"
	"testing"

	"gatehouse/login"
)

func TestSafeNext(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"/":                              "/",
		"/account":                       "/account",
		"/account?tab=1&x=%2F%2Fevil":    "/account?tab=1&x=%2F%2Fevil",
		"/a//b":                          "/a//b",
		"/a%20b/%C3%A9":                  "/a%20b/%C3%A9",
		"/café?q=ü":                      "/caf%C3%A9?q=%C3%BC",
		"/docs#part":                     "/docs#part",
		"/packages/@scope%2fname":        "/packages/@scope%2fname",
		"/login/reset":                   "/login/reset",
		"/loginx":                        "/loginx",
		"/search?next=https://evil.test": "/search?next=https://evil.test",
		"/@evil.test":                    "/@evil.test",
		"/https:evil.test":               "/https:evil.test",
		"/a:b":                           "/a:b",
		"/.well-known/x":                 "/.well-known/x",
		"/...":                           "/...",
		"/a b\"<>":                       "/a%20b%22%3C%3E",
		"/?//evil.test":                  "/?//evil.test",
	}
	for next, want := range good {
		if got, ok := login.SafeNext(next, "/login", "/logout"); !ok || got != want {
			t.Errorf("%q gives %q, %v; want %q", next, got, ok, want)
		}
	}
	t.Run("L02_refused", func(t *testing.T) {
		t.Parallel()
		for _, tt := range []struct {
			name  string
			nexts []string
		}{
			{"empty and relative", []string{"", "account", "?x", "#x", ".", "../x", " /account"}},
			{"absolute", []string{"https://evil.test/", "http:evil.test", "https:evil.test", "https:/evil.test", "HTTPS://app.example/", "data:text/html,x", "javascript:alert(1)", "mailto:x", "ftp://app.example"}},
			{"two slashes", []string{"//evil.test", "///evil.test", "////evil.test", "//app.example@evil.test", "//app.example.evil.test/", "//app.example"}},
			{"backslash", []string{`/\evil.test`, `\/evil.test`, `\\evil.test`, `/\/evil.test`, `/a\b`, `/?\`}},
			{"userinfo and suffix domains", []string{"@evil.test", "https://app.example@evil.test", "https://app.example.evil.test", "app.example.evil.test", ".evil.test"}},
			{"control characters", []string{"/\t/evil.test", "/\n/evil.test", "/\r/evil.test", "\t//evil.test", "/a\x00", "/a\r\nSet-Cookie: x=1", "/a?\n", "/a#\x7f"}},
			{"encoded", []string{"/%2fevil.test", "/%2Fevil.test", "/%5cevil.test", "/%5Cevil.test", "/%09/evil.test", "/%0d%0aX: 1", "/%00", "/%7f", "/a%5cb"}},
			{"encoded again", []string{"/%252fevil.test", "/%25252fevil.test", "/%255cevil.test", "/%252525252525252fx"}},
			{"dot segments", []string{"/./x", "/..//evil.test", "/a/../b", "/%2e%2e//evil.test", "/a/%2e%2e/x", "/..;/x", "/.;a/x", "/a%2f..%2f/x", "/a/..", "/."}},
			{"what does not decode", []string{"/%", "/%zz", "/a%2", "/\xff", "/%ff", "/%c0%af", "/#%"}},
			{"loops", []string{"/login", "/login/", "/LOGIN", "/login?next=/login", "/login#x", "/logout", "/logout/?x", "/log%69n", "/login;jsessionid=1", "/login%20", "/login.", "/%6c%6fgout"}},
			{"too long", []string{"/" + strings.Repeat("a", 8<<10)}},
		} {
			for _, next := range tt.nexts {
				if got, ok := login.SafeNext(next, "/login", "/logout"); ok {
					t.Errorf("%s: %q survives as %q", tt.name, next, got)
				}
			}
		}
	})
	t.Run("L02_loops_with_other_paths", func(t *testing.T) {
		t.Parallel()
		for _, next := range []string{"/auth/sign-in", "/auth//sign-in/", "/Auth/Sign-In?x", "/bye"} {
			if _, ok := login.SafeNext(next, "/auth/sign-in", "/bye"); ok {
				t.Errorf("%q survives", next)
			}
		}
		if _, ok := login.SafeNext("/login", "/auth/sign-in", "/bye"); !ok {
			t.Error("/login is refused although login is elsewhere")
		}
		if _, ok := login.SafeNext("/", "/", "/bye"); !ok {
			t.Error("/ must be allowed whatever the login path: it is where refused ones go")
		}
	})
}

// browser resolves a Location as the WHATWG URL standard has it, as far as it decides the origin: tabs
// and line ends are dropped, spaces and controls at both ends cut, backslashes are slashes.
// It gives the host, "" for another scheme.
func browser(base, location string) string {
	location = strings.Trim(location, "\x00\x01\x02\x03\x04\x05\x06\x07\x08\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")
	location = strings.NewReplacer("\t", "", "\n", "", "\r", "").Replace(location)
	end := strings.IndexAny(location, "?#")
	if end < 0 {
		end = len(location)
	}
	head := strings.ReplaceAll(location[:end], `\`, "/")
	if i := strings.IndexAny(head, ":/"); i >= 0 && head[i] == ':' {
		scheme := strings.ToLower(head[:i])
		if scheme != "https" {
			return ""
		}
		head = head[i+1:]
		if !strings.HasPrefix(head, "//") {
			return base // https:x is relative to an https base in some versions, a host in others
		}
	}
	if !strings.HasPrefix(head, "//") {
		return base
	}
	host, _, _ := strings.Cut(strings.TrimLeft(head, "/"), "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	return host
}

func FuzzSafeNext(f *testing.F) {
	for _, s := range []string{"/", "//evil", `/\evil`, "/\t/evil", "https:evil", "data:,x", "/%2fevil", "/%5cevil", "/a?b#c", "/é", "/..;/x", "/@x", "/%252fx", "/login"} {
		f.Add(s)
	}
	base := &url.URL{Scheme: "https", Host: "app.example", Path: "/login"}
	f.Fuzz(func(t *testing.T, next string) {
		got, ok := login.SafeNext(next, "/login", "/logout")
		if !ok {
			if got != "" {
				t.Fatalf("%q is refused and given: %q", next, got)
			}
			return
		}
		if again, ok := login.SafeNext(got, "/login", "/logout"); !ok || again != got {
			t.Fatalf("%q became %q, which becomes %q, %v", next, got, again, ok)
		}
		u, err := base.Parse(got)
		if err != nil {
			t.Fatalf("%q became %q: %v", next, got, err)
		}
		if u.Scheme != "https" || u.Host != "app.example" || u.User != nil {
			t.Fatalf("%q leads Go to %s", next, u)
		}
		// A server that decodes the path and redirects to it, once and twice.
		for _, reading := range []string{got, u.Path, unescape(u.Path)} {
			if host := browser("app.example", reading); host != "app.example" {
				t.Fatalf("%q leads a browser to %q by %q", next, host, reading)
			}
		}
		for i := range len(got) {
			if got[i] <= ' ' || got[i] >= 0x7f || got[i] == '\\' {
				t.Fatalf("%q became %q, which may not stand in a header", next, got)
			}
		}
		if strings.EqualFold(strings.Trim(u.Path, "/"), "login") || strings.EqualFold(strings.Trim(u.Path, "/"), "logout") {
			t.Fatalf("%q leads back to %s", next, u)
		}
	})
}

func unescape(s string) string {
	if u, err := url.PathUnescape(s); err == nil {
		return u
	}
	return s
}
