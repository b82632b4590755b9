package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/internal/testcert"
)

// headerCases: a client cannot say who it is (security case group H).
var headerCases = []securityCase{
	{"H01_owned_headers_are_deleted", func(t *testing.T, s *setup) {
		dir := t.TempDir()
		cert, key := testcert.Write(t, dir)
		a := startApp(t, nil)
		cfg := baseConfig(a.url, s.section()) + fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key)
		cfg = strings.Replace(cfg, "secure: false", "secure: true", 1)
		g := start(t, cfg, withUsers())
		for _, proto := range []string{"HTTP/1.1", "HTTP/2.0"} {
			b := newBrowser(t, g.url)
			transport := b.client.Transport.(*http.Transport)
			transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
			transport.ForceAttemptHTTP2 = proto == "HTTP/2.0"
			if proto == "HTTP/1.1" {
				transport.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
			}
			forged := []string{"X-User-Id", "1", "x-user-id", "1", "X-USER-EMAIL", "a@b", "X-User-Name", "n", "X-User-Role", "admin", "X-User-Email-Verified", "true"}
			if got := b.get("/public/x", forged...); got.Proto != proto {
				t.Fatalf("spoke %s, want %s", got.Proto, proto)
			}
			if raw := a.last(t).Raw; strings.Contains(strings.ToLower(raw), "x-user-") {
				t.Errorf("%s, anonymous: the app got %q", proto, raw)
			}
			b.login(userEmail, userPassword)
			b.get("/public/x", forged...)
			h := a.last(t).Header
			if ids := h["X-User-Id"]; len(ids) != 1 || ids[0] != "2" {
				t.Errorf("%s, logged in: X-User-Id is %q, want 2 alone", proto, ids)
			}
			if role := h["X-User-Role"]; len(role) != 1 || role[0] != "user" {
				t.Errorf("%s, logged in: X-User-Role is %q", proto, role)
			}
		}
		t.Run("empty attribute", func(t *testing.T) {
			users := strings.Replace(usersYAML(), `name: "Uma User", role: user`, `name: "", role: ""`, 1)
			g := start(t, baseConfig(a.url, s.section()), options{files: map[string]string{"users.yaml": users}})
			b := newBrowser(t, g.url)
			b.login(userEmail, userPassword)
			b.get("/account", "X-User-Role", "admin", "X-User-Name", "Ada")
			if raw := a.last(t).Raw; strings.Contains(raw, "X-User-Role") || strings.Contains(raw, "X-User-Name") {
				t.Errorf("an attribute the user has not got arrives: %q", raw)
			}
		})
	}},

	{"H02_other_spellings_are_dropped", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		for _, name := range []string{"X_User_Id", "x-user_id", "X.User.Id", "X~User~Id", "X-User_Id", "x!user!id", "Other_Header"} {
			one(t, g, "GET /account HTTP/1.1", cookieHeader(b), name+": 1")
			r := a.last(t)
			if strings.Contains(strings.ToLower(r.Raw), "\r\n"+strings.ToLower(name)+":") {
				t.Errorf("%s reached the app: %q", name, r.Raw)
			}
			if strings.Count(strings.ToLower(r.Raw), "\r\nx-user-id: ") != 1 || !strings.Contains(r.Raw, "X-User-Id: 2\r\n") {
				t.Errorf("beside %s: the real header is missing: %q", name, r.Raw)
			}
		}
		allowed, a2 := s.gateway(t, "requests: {allow_headers: [Other_Header]}\n")
		one(t, allowed, "GET /public/ HTTP/1.1", "Other_Header: 1", "X_User_Id: 1")
		if r := strings.ToLower(a2.last(t).Raw); !strings.Contains(r, "other_header: 1") || strings.Contains(r, "x_user_id") {
			t.Errorf("with Other_Header allowed the app got %q", r)
		}
	}},

	{"H03_connection_header_does_not_lose_the_identity", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		b := newBrowser(t, g.url)
		b.login(userEmail, userPassword)
		parse(t, raw(t, g.addr, "GET /account HTTP/1.1\r\nHost: x\r\n"+cookieHeader(b)+"\r\nConnection: close, X-User-Id, X-User-Role\r\n\r\n"))
		if h := a.last(t).Header; h.Get("X-User-Id") != "2" || h.Get("X-User-Role") != "user" {
			t.Errorf("the app got %v", h)
		}
	}},

	{"H04_forwarding_headers_of_strangers", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		forged := []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Uri: /admin",
			"X-Forwarded-Prefix: /evil", "X-Forwarded-Port: 666", "X-Forwarded-User: root", "X-Forwarded-Email: r@evil", "X-Forwarded-Groups: root",
			"Forwarded: for=6.6.6.6", "X-Real-Ip: 6.6.6.6", "X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Original-Method: DELETE",
			"X-Http-Method-Override: DELETE", "Remote-User: root", "Proxy: http://evil"}
		if resp := one(t, g, "GET /public/ HTTP/1.1", forged...); resp.StatusCode != http.StatusOK {
			t.Fatalf("answer %s", resp.Status)
		}
		r := a.last(t)
		for _, line := range forged {
			if strings.Contains(r.Raw, line) {
				t.Errorf("the app got %q", line)
			}
		}
		for name, want := range map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": g.addr, "X-Forwarded-Proto": "http"} {
			if got := r.Header[name]; len(got) != 1 || got[0] != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		if entry := g.logged(t, map[string]any{"type": "access", "path": "/public/"}); entry["client"] != "127.0.0.1" {
			t.Errorf("the log believes the client is %v", entry["client"])
		}
		for _, all := range []string{"0.0.0.0/0", "::/0"} {
			file := filepath.Join(t.TempDir(), "g.yaml")
			writeFile(t, file, baseConfig(a.url, s.section())+fmt.Sprintf("trusted_proxies: [%q]\n", all))
			if out, code := runCommand(t, "", "check", "--config", file); code != 1 || !strings.Contains(out, "trusted_proxies[0]") {
				t.Errorf("check with %s: exit %d, %s", all, code, out)
			}
		}
	}},

	{"H05_malformed_header_lines", func(t *testing.T, s *setup) {
		g, a := s.gateway(t, "")
		for name, lines := range map[string]string{
			"space before colon": "X-User-Id : 1\r\n",
			"tab before colon":   "X-User-Id\t: 1\r\n",
			"bare CR":            "X-A: a\rX-User-Id: 1\r\n",
			"NUL":                "X-A: a\x00b\r\n",
			"UTF-8 in a name":    "X-Üser-Id: 1\r\n",
		} {
			if resp := parse(t, raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n")); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s, want 400", name, resp.Status)
			}
		}
		if n := len(a.requests()); n != 0 {
			t.Fatalf("%d malformed requests reached the app", n)
		}
		// Pinned: net/http takes these, joins or splits them, and no owned header comes of it.
		for name, lines := range map[string]string{"obs-fold": "X-A: a\r\n X-User-Id: 1\r\n", "bare LF": "X-A: a\nX-User-Id: 1\r\n"} {
			before := len(a.requests())
			raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+lines+"\r\n")
			for _, r := range a.requests()[before:] {
				if r.Header.Get("X-User-Id") != "" {
					t.Errorf("%s: the app got X-User-Id: %q", name, r.Raw)
				}
			}
		}
	}},

	{"H09_hostile_names", func(t *testing.T, s *setup) {
		// The application tells the name: it has it from whoever registered.
		a := startApp(t, func(w io.Writer, r seen) {
			if r.Method == http.MethodPost {
				reply(w, "200 OK", "application/json", `{"ok":true,"id":2,"name":"Jösé\r\nX-Admin: 1\u0000\u007f%","role":"rölé"}`)
				return
			}
			reply(w, "200 OK", "text/plain", "hello")
		})
		g := start(t, fmt.Sprintf(`upstream: %s
login:
  backend: app
  app:
    success: {json_field: ok}
    identity: {from: json, fields: {userId: id, name: name, role: role}}
session: {cookie: {secure: false}}
headers:
  - {name: X-User-Name, value: name}
  - {name: X-Raw-Name, value: name, encoding: raw-utf8}
  - {name: X-Raw-Role, value: role, encoding: raw-utf8}
%s`, a.url, s.section()), options{})
		b := newBrowser(t, g.url)
		if got := b.post("/login", form("email", userEmail, "password", "x")); b.token() == "" {
			t.Fatalf("login: %s %s", got.Status, got.body)
		}
		if got := b.get("/account"); got.StatusCode != http.StatusOK {
			t.Fatalf("answer %s", got.Status)
		}
		r := a.last(t)
		if got, want := r.Header.Get("X-User-Name"), "J%C3%B6s%C3%A9%0D%0AX-Admin: 1%00%7F%25"; got != want {
			t.Errorf("X-User-Name is %q, want %q", got, want)
		}
		if r.Header["X-Admin"] != nil {
			t.Error("the name became a header of its own")
		}
		// What cannot be sent raw without harm is not sent; what can arrives as it is.
		if got := r.Header["X-Raw-Name"]; got != nil {
			t.Errorf("X-Raw-Name is %q", got)
		}
		if got := r.Header.Get("X-Raw-Role"); got != "rölé" {
			t.Errorf("X-Raw-Role is %q", got)
		}
		eventually(t, "a warning about the header that was left out", func() bool { return strings.Contains(g.output(), "X-Raw-Name") })
	}},

	{"H10_client_address", func(t *testing.T, s *setup) {
		a := startApp(t, nil)
		g := start(t, baseConfig(a.url, s.section())+"trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n", withUsers())
		for _, c := range []struct{ forwarded, want string }{
			{"6.6.6.6, 9.9.9.9", "9.9.9.9"},
			{"6.6.6.6, 9.9.9.9, 10.1.1.1", "9.9.9.9"},
			{"9.9.9.9, nonsense, 10.1.1.1", "10.1.1.1"},
			{"::ffff:9.9.9.9", "9.9.9.9"},
			{"2001:db8::1", "2001:db8::1"},
			{"", "127.0.0.1"},
		} {
			one(t, g, "GET /public/ HTTP/1.1", "X-Forwarded-For: "+c.forwarded)
			if got := a.last(t).Header.Get("X-Forwarded-For"); got != c.want {
				t.Errorf("X-Forwarded-For %q: the app is told %q, want %q", c.forwarded, got, c.want)
			}
		}
	}},

	{"H11_echoed_headers_do_not_come_back", func(t *testing.T, s *setup) {
		a := startApp(t, func(w io.Writer, r seen) {
			reply(w, "200 OK", "text/plain", "x", "X-User-Id: "+r.Header.Get("X-User-Id"), "X-Custom: 1")
		})
		for _, c := range []struct{ more, want string }{{"", ""}, {"requests: {strip_response_headers: false}\n", "2"}} {
			g := start(t, baseConfig(a.url, s.section())+c.more, withUsers())
			b := newBrowser(t, g.url)
			b.login(userEmail, userPassword)
			got := b.get("/account")
			if got.Header.Get("X-User-Id") != c.want || got.Header.Get("X-Custom") != "1" {
				t.Errorf("with %q the client got %v", c.more, got.Header)
			}
		}
	}},
}
