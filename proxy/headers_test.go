package proxy

import (
	"bufio"
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

var defaultHeaders = []config.Header{
	{Name: "X-User-Id", Value: "userId"}, {Name: "X-User-Email", Value: "email"}, {Name: "X-User-Name", Value: "name"},
	{Name: "X-User-Role", Value: "role"}, {Name: "X-User-Email-Verified", Value: "emailVerified"},
}

// scrubbed sends headers, with whatever keys, through a Scrubber and returns the names that are left.
func scrubbed(s *Scrubber, names ...string) []string {
	h := make(http.Header)
	for _, name := range names {
		h[name] = append(h[name], "attacker")
	}
	s.Scrub(h)
	return slices.Sorted(maps.Keys(h))
}

func TestScrub(t *testing.T) {
	t.Parallel()
	s := NewScrubber(defaultHeaders, config.Requests{AllowHeaders: []string{"x_tenant", "X_User_Id", "X.Forwarded.For", "REMOTE_USER"}})
	gone := map[string][]string{
		"H01_every_case":       {"X-User-Id", "x-user-id", "X-USER-ID", "X-User-Email", "X-User-Email-Verified", "x-User-ROLE"},
		"H02_other_separators": {"X_User_Id", "X-User_id", "X.User.Id", "X~User~Id", "X User Id", "X!User+Id", "x_user_email_verified", "X\u00adUser\u00adId"},
		"H02_odd_names":        {"X_Tenant2", "A.b", "Foo~", "", "Ünicode", "a b", "x:y", "X-\x00"},
		"H04_untrusted": {
			"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Uri", "X-Forwarded-Prefix", "X-Forwarded-Port", "X-Forwarded-User",
			"X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Anything", "X-Forwarded-", "x-forwarded-for", "X_Forwarded_For", "X.Forwarded.For",
			"Forwarded", "X-Real-Ip", "X-Original-Url", "X-Rewrite-Url", "X-Original-Method", "X-Http-Method-Override", "Remote-User", "Remote_User", "REMOTE_USER", "Proxy", "PROXY",
		},
	}
	for name, names := range gone {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if left := scrubbed(s, names...); len(left) != 0 {
				t.Errorf("left: %q", left)
			}
		})
	}
	t.Run("the_rest_stays", func(t *testing.T) {
		stay := []string{
			"Accept", "Authorization", "Content-Type", "Cookie", "Expect", "Forwarded-For", "Host", "If-None-Match", "Origin", "Proxy-Thing", "Range", "Referer",
			"Sec-Fetch-Mode", "User-Agent", "X-Csrf-Token", "X-Requested-With", "X-Request-Id", "X-User", "X-User-Id2", "X-Useruid", "X_tenant", strings.Repeat("X", 300),
		}
		slices.Sort(stay)
		if left := scrubbed(s, stay...); !slices.Equal(left, stay) {
			t.Errorf("left %q\nwant %q", left, stay)
		}
	})
	t.Run("H01_names_of_the_config", func(t *testing.T) {
		long := "X-" + strings.Repeat("Long-", 60) + "Name"
		s := NewScrubber([]config.Header{{Name: "Auth_User", Value: "userId"}, {Name: "Kennung", Value: "email"}, {Name: long, Value: "name"}}, config.Requests{AllowHeaders: []string{"auth.user", "AUTH_USER"}})
		left := scrubbed(s, "Auth_user", "Auth_User", "auth-user", "AUTH.USER", "auth_user", "kennung", long, strings.ToLower(long), strings.ReplaceAll(long, "-", "_"), "X-User-Id")
		if !slices.Equal(left, []string{"X-User-Id"}) {
			t.Errorf("left %q", left)
		}
	})
}

// TestScrubAsServersSeeIt builds the variables CGI, WSGI and PHP make of headers: none of them may be an
// identity header's, whatever is sent.
func TestScrubAsServersSeeIt(t *testing.T) {
	t.Parallel()
	s := NewScrubber(defaultHeaders, config.Requests{AllowHeaders: []string{"x_tenant"}})
	variable := func(name string) string {
		return strings.Map(func(c rune) rune {
			if c >= 'a' && c <= 'z' {
				return c - 'a' + 'A'
			}
			if c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' {
				return c
			}
			return '_'
		}, name)
	}
	t.Run("H02_every_separator", func(t *testing.T) {
		for c := range 256 {
			for _, name := range []string{"X%User%Id", "X-User%Id", "x%forwarded-For"} {
				name = strings.ReplaceAll(name, "%", string([]byte{byte(c)}))
				for _, left := range scrubbed(s, name) {
					if v := variable(left); v == "X_USER_ID" || v == "X_FORWARDED_FOR" {
						t.Errorf("%q passes and becomes %s", left, v)
					}
				}
			}
		}
	})
}

func TestScrubAllocatesNothing(t *testing.T) {
	s := NewScrubber(defaultHeaders, config.Requests{})
	h := http.Header{"Accept": {"*/*"}, "User-Agent": {"x"}, "Cookie": {"a=b"}, "X-User-Ix": {"same length"}, "Pragma": {"x"}, "Referer": {"x"}}
	if n := testing.AllocsPerRun(100, func() { s.Scrub(h) }); n != 0 || len(h) != 6 {
		t.Errorf("%v allocations, %d headers left", n, len(h))
	}
}

func TestStripResponse(t *testing.T) {
	t.Parallel()
	make := func() http.Header {
		return http.Header{"X-User-Id": {"7"}, "X_user_email": {"a@b"}, "X-Forwarded-For": {"1"}, "X_odd": {"1"}, "Content-Type": {"text/html"}}
	}
	t.Run("H11_on", func(t *testing.T) {
		h := make()
		NewScrubber(defaultHeaders, config.Requests{StripResponseHeaders: true}).StripResponse(h)
		if left := slices.Sorted(maps.Keys(h)); !slices.Equal(left, []string{"Content-Type", "X-Forwarded-For", "X_odd"}) {
			t.Errorf("left %q", left)
		}
	})
	t.Run("H11_off", func(t *testing.T) {
		h := make()
		NewScrubber(defaultHeaders, config.Requests{}).StripResponse(h)
		if len(h) != 5 {
			t.Errorf("left %v", h)
		}
	})
	t.Run("H08_no_trailers", func(t *testing.T) {
		NewScrubber(defaultHeaders, config.Requests{StripResponseHeaders: true}).StripResponse(nil)
	})
}

func ada() *session.Record {
	return &session.Record{
		ID:        session.ID{1, 2, 3},
		User:      session.User{ID: "9007199254740993", Email: "ada@example.com", Name: "Ada Lovelace", Role: "admin", EmailVerified: true},
		CreatedAt: time.Date(2026, 1, 2, 3, 4, 5, 6_000_000, time.FixedZone("", 3600)),
		ExpiresAt: time.Date(2026, 2, 1, 3, 4, 5, 0, time.UTC),
	}
}

// identity gives the headers of a record as a map, and the names that were dropped.
func identity(s *Scrubber, rec *session.Record) (map[string]string, []string) {
	got, dropped := make(map[string]string), []string(nil)
	for _, h := range s.Identity(rec, func(name, why string) { dropped = append(dropped, name+": "+why) }) {
		got[h.Name] = h.Value
	}
	return got, dropped
}

func TestIdentity(t *testing.T) {
	t.Parallel()
	t.Run("every_attribute", func(t *testing.T) {
		s := NewScrubber(append(slices.Clone(defaultHeaders), config.Header{Name: "sid", Value: "sessionId"}, config.Header{Name: "x-created", Value: "createdAt"},
			config.Header{Name: "x-expires", Value: "expiresAt"}, config.Header{Name: "x-typo", Value: "nmae"}), config.Requests{})
		got, dropped := identity(s, ada())
		want := map[string]string{
			"X-User-Id": "9007199254740993", "X-User-Email": "ada@example.com", "X-User-Name": "Ada Lovelace", "X-User-Role": "admin", "X-User-Email-Verified": "true",
			"Sid": session.ID{1, 2, 3}.String(), "X-Created": "2026-01-02T02:04:05.006Z", "X-Expires": "2026-02-01T03:04:05.000Z",
		}
		if !maps.Equal(got, want) || dropped != nil {
			t.Errorf("got  %v\nwant %v, dropped %v", got, want, dropped)
		}
	})
	t.Run("H01_empty_attribute_no_header", func(t *testing.T) {
		s := NewScrubber(append(slices.Clone(defaultHeaders), config.Header{Name: "Sid", Value: "sessionId"}, config.Header{Name: "C", Value: "createdAt"}), config.Requests{})
		got, _ := identity(s, &session.Record{User: session.User{ID: "7"}})
		if want := map[string]string{"X-User-Id": "7", "X-User-Email-Verified": "false"}; !maps.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
	t.Run("no_session", func(t *testing.T) {
		if got := NewScrubber(defaultHeaders, config.Requests{}).Identity(nil, nil); got != nil {
			t.Errorf("got %v", got)
		}
	})
}

func TestHeaderEncoding(t *testing.T) {
	t.Parallel()
	rows := []struct{ name, value, percent, raw string }{
		{"H09_plain", "Ada L. (x) \"y\"", "Ada L. (x) \"y\"", "Ada L. (x) \"y\""},
		{"H09_accents", "Jösé", "J%C3%B6s%C3%A9", "Jösé"},
		{"H09_injection", "Jösé\r\nX-Admin: 1", "J%C3%B6s%C3%A9%0D%0AX-Admin: 1", ""},
		{"H09_nul", "a\x00b", "a%00b", ""},
		{"H09_del", "a\x7fb", "a%7Fb", ""},
		{"H09_next_line", "a\u0085b", "a%C2%85b", ""},
		{"H09_not_utf8", "a\xffb", "a%FFb", ""},
		{"H09_percent", "100% %41", "100%25 %2541", "100% %41"},
		{"H09_blanks_at_the_ends", " a b ", "%20a b%20", " a b "},
		{"H09_tab", "a\tb", "a%09b", ""},
		{"H09_4_KiB", strings.Repeat("a", 4096), strings.Repeat("a", 4096), strings.Repeat("a", 4096)},
		{"H09_too_long", strings.Repeat("a", 4097), "", ""},
		{"H09_too_long_encoded", strings.Repeat("é", 1000), "", strings.Repeat("é", 1000)},
	}
	s := NewScrubber([]config.Header{{Name: "P", Value: "name", Encoding: "percent"}, {Name: "R", Value: "name", Encoding: "raw-utf8"}}, config.Requests{})
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			got, dropped := identity(s, &session.Record{User: session.User{ID: "7", Name: row.value}})
			if got["P"] != row.percent || got["R"] != row.raw {
				t.Errorf("percent %q, raw %q", got["P"], got["R"])
			}
			if want := strings.Count(row.percent+"|"+row.raw, "|"); len(got)+len(dropped) != 2 || want != 1 {
				t.Errorf("%d sent, %d dropped: each header is one or the other", len(got), len(dropped))
			}
			if back, err := url.PathUnescape(row.percent); row.percent != "" && (err != nil || back != row.value) {
				t.Errorf("the value does not decode to itself: %q", back)
			}
		})
	}
	// A caller that does not want to know is not called.
	s.Identity(&session.Record{User: session.User{Name: "\x00"}}, nil)
}

// FuzzHeaderValue sends any name over HTTP/1.1: it must arrive as one header, or not at all, and never
// break the request.
func FuzzHeaderValue(f *testing.F) {
	for _, seed := range []string{"Ada", "Jösé\r\nX-Admin: 1", "\x00\x7f", " \t", "%0a", "\xff\xfe", "\u2028", strings.Repeat("é", 700)} {
		f.Add(seed)
	}
	s := NewScrubber([]config.Header{{Name: "P", Value: "name"}, {Name: "R", Value: "name", Encoding: "raw-utf8"}}, config.Requests{})
	f.Fuzz(func(t *testing.T, name string) {
		values := s.Identity(&session.Record{User: session.User{Name: name}}, nil)
		r := httptest.NewRequest("GET", "http://app/", nil)
		for _, h := range values {
			r.Header[h.Name] = []string{h.Value}
		}
		var wire bytes.Buffer
		if err := r.Write(&wire); err != nil {
			t.Fatalf("%q cannot be sent: %v", values, err)
		}
		got, err := http.ReadRequest(bufio.NewReader(&wire))
		if err != nil || len(got.Header) != len(values)+1 { // and User-Agent
			t.Fatalf("%q arrived as %v, %v", values, got, err)
		}
		for _, h := range values {
			if arrived := got.Header.Get(h.Name); arrived != strings.Trim(h.Value, " ") {
				t.Fatalf("sent %q, arrived %q", h.Value, arrived)
			}
			if back, err := url.PathUnescape(h.Value); h.Name == "P" && (err != nil || back != name) {
				t.Fatalf("%q decodes to %q, want %q", h.Value, back, name)
			}
		}
	})
}
