package login_test

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/telemetry"
)

func TestAppLimits(t *testing.T) {
	t.Parallel()
	form := func(body string) []string { return []string{"application/x-www-form-urlencoded", body} }
	multi := func(parts ...string) []string {
		var b strings.Builder
		for i := 0; i < len(parts); i += 2 {
			b.WriteString("--x\r\nContent-Disposition: form-data; name=\"" + parts[i] + "\"\r\n\r\n" + parts[i+1] + "\r\n")
		}
		return []string{"multipart/form-data; boundary=x", b.String() + "--x--\r\n"}
	}
	js := func(body string) []string { return []string{"application/json", body} }
	for _, c := range []struct {
		name    string
		request []string // content type, body
		status  int
	}{
		{"L03 form", form("email=victim@example.com&password=x"), 429},
		{"L03 spelled differently", form("email=+VICTIM@Example.com+"), 429},
		{"L03 full width", form("email=ｖictim@example.com"), 429},
		{"L03 nested", form("user%5Bemail%5D=victim@example.com"), 429},
		{"L03 dotted", form("Input.Email=victim@example.com"), 429},
		{"L03 PHP reads it as username", form("user%5Busername=victim@example.com"), 429},
		{"L03 second account field", form("email=a@b&username=victim@example.com"), 429},
		{"L03 multipart", multi("csrf", "x", "email", "victim@example.com"), 429},
		{"L03 JSON", js(`{"password":"x","email":"victim@example.com"}`), 429},
		{"L03 JSON nested", js(`{"data":[{"attributes":{"Email":"victim@example.com"}}]}`), 429},
		{"L03 operator", js(`{"email":{"$eq":"victim@example.com"}}`), 429},
		{"L03 array", js(`{"email":["victim@example.com"]}`), 429},
		{"L03 form operator", form("email%5B%24eq%5D=victim@example.com"), 429},
		{"L03 form array", form("email%5B0%5D=victim@example.com"), 429},
		{"L03 form array by name", form("email%5Bx%5D=victim@example.com"), 429},
		{"L03 form array in an array", form("username%5Bx%5D%5By%5D=victim@example.com"), 429},
		{"L03 JSON object", js(`{"email":{"x":["victim@example.com"]}}`), 429},
		{"no account under a form's name", form("user%5Bpassword%5D=victim@example.com"), 302},
		{"no account under a form's name in JSON", js(`{"user":{"password":"victim@example.com"}}`), 302},
		{"L03 soft hyphen", form("email=vic%C2%ADtim@example.com"), 429},
		{"L03 zero width", form("email=v%E2%80%8Bictim@example.com"), 429},
		{"a box beside the account", form("user%5Bemail%5D=other@example.com&user%5Bremember%5D=victim@example.com"), 302},
		{"name in RFC 2231's way", []string{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"email\"; name*=utf-8''zzz\r\n\r\nvictim@example.com\r\n--x--\r\n"}, 400},
		{"boundary in RFC 2231's way", []string{"multipart/form-data; boundary=X; boundary*=utf-8''Y", "--X--"}, 415},
		{"two boundaries", []string{"multipart/form-data; xboundary=Y; boundary=X", "--X--"}, 415},
		{"charset in RFC 2231's way", []string{"application/x-www-form-urlencoded; charset=utf-16; charset*=utf-8''utf-8", "email=x"}, 415},
		{"upload beside", []string{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a.png\"\r\n\r\nx\r\n--x--\r\n"}, 302},
		{"other account", form("email=other@example.com"), 302},
		{"no account", form("remember_email_to=x&emails=y"), 302},
		{"nothing", form(""), 302},
		{"L06 twice", form("email=other@example.com&email=victim@example.com"), 400},
		{"L06 twice, one nested like PHP", form("user%5Bemail%5D=a&user.email=b"), 400},
		{"L06 multipart twice", multi("email", "a", "email", "b"), 400},
		{"L06 JSON twice", js(`{"email":"a","email":"b"}`), 400},
		{"not a form", form("email=%zz"), 400},
		{"semicolon", form("a=1;email=victim@example.com"), 400},
		{"cut off multipart", []string{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"email\"\r\n\r\nvic"}, 400},
		{"multipart in base64", []string{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"email\"\r\nContent-Transfer-Encoding: base64\r\n\r\ndmlj\r\n--x--"}, 400},
		{"multipart without a name", []string{"multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data\r\n\r\ndmlj\r\n--x--"}, 400},
		{"multipart without boundary", []string{"multipart/form-data", "x"}, 400},
		{"broken JSON", js(`{"email":`), 400},
		{"JSON list", js(`[]`), 400},
		{"text", []string{"text/plain", "email=victim@example.com"}, 415},
		{"no type", []string{"", "email=victim@example.com"}, 415},
		{"UTF-16", []string{"application/x-www-form-urlencoded; charset=utf-16", "email=x"}, 415},
		{"Latin 1", []string{"application/x-www-form-urlencoded; charset=ISO-8859-1", "email=x"}, 302},
		{"L06 large", form("x=" + strings.Repeat("x", 64<<10)), 413},
		{"long account", form("email=" + strings.Repeat("x", 600)), 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := appConfig()
			cfg.Limits.PerAccount = config.Rate{Events: 1, Per: time.Hour}
			cfg.Limits.Burst = 1
			app := &script{}
			s := openSite(t, cfg, app)
			p := s.person()
			r, w := s.request("POST", "/login", "email=victim@example.com")
			telemetry.RequestFrom(r.Context()).Client = netip.MustParseAddr("198.51.100.1")
			s.handler.Login(w, r) // takes the one attempt of this account, from another address
			before := len(app.requests())
			got := p.do("POST", "/login", c.request[1], "Content-Type", c.request[0])
			if got.StatusCode != c.status {
				t.Fatalf("%d, want %d: %.300s", got.StatusCode, c.status, got.text)
			}
			if asked := len(app.requests()) > before; asked != (c.status == 302) {
				t.Errorf("the application was asked: %v", asked)
			}
			if c.status == 429 && got.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		})
	}
	t.Run("L03 the type is taken away by Connection", func(t *testing.T) {
		t.Parallel()
		s := openSite(t, appConfig(), &script{})
		if got := s.person().do("POST", "/login", `{"a":"&email=victim@example.com&b="}`, "Content-Type", "application/json", "Connection", "close, Content-Type"); got.StatusCode != 400 {
			t.Errorf("%d, want 400", got.StatusCode)
		}
	})
	t.Run("L03 query", func(t *testing.T) {
		t.Parallel()
		cfg := appConfig()
		cfg.Limits = config.LoginLimits{PerAddress: cfg.Limits.PerAddress, PerAccount: config.Rate{Events: 1, Per: time.Hour}, Burst: 1}
		cfg.Limits.PerAddress.Events = 1 << 30
		s := openSite(t, cfg, &script{})
		r, w := s.request("POST", "/login?x=1;email=victim%40example.com", "password=x")
		s.handler.Login(w, r)
		first := w.Code
		r, w = s.request("POST", "/login?user[email]=victim@example.com&y=%zz", "password=x")
		telemetry.RequestFrom(r.Context()).Client = netip.MustParseAddr("198.51.100.1")
		s.handler.Login(w, r)
		if first != 302 || w.Code != 429 {
			t.Errorf("%d, then %d", first, w.Code)
		}
	})
	t.Run("L03 address", func(t *testing.T) {
		t.Parallel()
		cfg := appConfig()
		cfg.Limits.PerAddress = config.Rate{Events: 1, Per: time.Hour}
		cfg.Limits.Burst = 1
		s := openSite(t, cfg, &script{})
		p := s.person()
		p.post("/login", url.Values{"email": {"a@b"}}).want(t, 302, "/dashboard")
		if got := p.post("/login", url.Values{"email": {"c@d"}}); got.StatusCode != 429 || !strings.Contains(s.log.String(), `"reason":"address"`) {
			t.Errorf("%d\n%s", got.StatusCode, s.log)
		}
	})
	t.Run("L01 cross-site", func(t *testing.T) {
		t.Parallel()
		app := &script{}
		s := openSite(t, appConfig(), app)
		p := s.person()
		wantNothing(t, s, p, p.post("/login", uma, "Origin", "https://evil.example"), 403)
		if len(app.requests()) != 0 {
			t.Error("the application was asked")
		}
	})
}

// TestNoAccountIsTold: an operator whose form has another field name learns of it.
func TestNoAccountIsTold(t *testing.T) {
	t.Parallel()
	s := openSite(t, appConfig(), &script{})
	for range 3 {
		s.person().post("/login", url.Values{"identifier": {"uma"}})
	}
	if n := strings.Count(s.log.String(), "account_fields"); n < 1 || strings.Count(s.log.String(), "named no account") != 1 {
		t.Errorf("told %d times:\n%s", n, s.log)
	}
}
