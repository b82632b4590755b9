package e2e

import (
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// headerCases: a client cannot say who it is (security case group H).
var headerCases = []securityCase{
	{"H01_owned_headers_are_deleted", both, func(t *testing.T, s *setup) {
		g, a := s.usual()
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		once := []string{"X-User-Id: 1", "x-user-email: a@b", "X-USER-NAME: n", "x-uSeR-rOlE: admin", "X-User-Email-Verified: true"}
		twice := append(append([]string{}, once...), "X-User-Id: 1", "x-user-id: 3", "X-User-Role: admin")
		for _, forged := range [][]string{once, twice} {
			for _, target := range []string{"/public/x", "/", "/account", "/admin"} {
				before := len(a.requests())
				resp := s.one(t, g, "GET "+target, forged...)
				if want := map[string]int{"/public/x": 200, "/": 200, "/account": 303, "/admin": 303}[target]; resp.StatusCode != want {
					t.Errorf("anonymous, %s: %s", target, resp.Status)
				}
				for _, r := range a.requests()[before:] {
					if strings.Contains(strings.ToLower(r.Raw), "x-user-") {
						t.Errorf("anonymous, %s: the app got %q", target, r.Raw)
					}
				}
			}
			for _, target := range []string{"/public/x", "/account"} {
				s.one(t, g, "GET "+target, append(forged, cookieHeader(b))...)
				h := a.last(t).Header
				for name, want := range map[string]string{"X-User-Id": "2", "X-User-Role": "user", "X-User-Email": userEmail, "X-User-Name": "Uma User", "X-User-Email-Verified": "false"} {
					if got := h[name]; len(got) != 1 || got[0] != want {
						t.Errorf("logged in, %s: %s is %q, want %q alone", target, name, got, want)
					}
				}
			}
			if got := s.one(t, g, "GET /admin", append(forged, cookieHeader(b))...); got.StatusCode != 403 {
				t.Errorf("a user who says that he is an admin: %s", got.Status)
			}
		}
		t.Run("empty attribute", func(t *testing.T) { emptyAttributes(t, s) })
		t.Run("login form", func(t *testing.T) {
			// A login that goes through to the application is a request like any other.
			a := startApp(t, nil)
			g := s.start(t, appConfig(a.url, s.section(), sampleLogin), options{})
			s.send(t, g, request{line: "POST /login", headers: append(once, "Content-Type: application/x-www-form-urlencoded"), body: "email=a&password=b"})
			if raw := a.last(t).Raw; !strings.HasPrefix(raw, "POST /login") || strings.Contains(strings.ToLower(raw), "x-user-") {
				t.Errorf("the app's login got %q", raw)
			}
		})
	}},

	{"H02_other_spellings_are_dropped", both, func(t *testing.T, s *setup) {
		g, a := s.usual()
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		names := []string{"X_User_Id", "x-user_id", "X.User.Id", "X~User~Id", "X-User_Id", "x!user!id", "X-User.Id", "X__User_Id", "Other_Header"}
		for _, c := range "!#$%&'*+.^_`|~" { // all that a name may be made of but letters, digits and the hyphen (RFC 9110, 5.6.2)
			names = append(names, "X"+string(c)+"User"+string(c)+"Id", "Plain"+string(c)+"x", string(c)+"X-User-Id", "X-User-Id"+string(c))
		}
		lines := []string{cookieHeader(b)}
		for _, name := range names {
			lines = append(lines, name+": 1")
		}
		for i := 0; i < len(lines)-1; i += 40 {
			if got := s.one(t, g, "GET /account", append([]string{lines[0]}, lines[1+i:min(len(lines), i+41)]...)...); got.StatusCode != 200 {
				t.Fatalf("answer %s", got.Status)
			}
			r := a.last(t)
			raw := strings.ToLower(r.Raw)
			for _, name := range names {
				if strings.Contains(raw, "\r\n"+strings.ToLower(name)+":") {
					t.Errorf("%s reached the app", name)
				}
			}
			if strings.Count(raw, "\r\nx-user-id: ") != 1 || !strings.Contains(r.Raw, "X-User-Id: 2\r\n") {
				t.Errorf("the real header is missing: %q", r.Raw)
			}
		}
		allowed, a2 := s.gateway(t, "requests: {allow_headers: [Other_Header]}\n")
		s.one(t, allowed, "GET /public/", "Other_Header: 1", "Another_Header: 1", "X_User_Id: 1", "X_Forwarded_For: 6.6.6.6")
		if r := strings.ToLower(a2.last(t).Raw); !strings.Contains(r, "other_header: 1") || strings.Contains(r, "another_header") || strings.Contains(r, "x_user_id") || strings.Contains(r, "x_forwarded") {
			t.Errorf("with Other_Header allowed the app got %q", r)
		}
		for _, name := range []string{"X_User_Id", "x.user.role", "X_Forwarded_For"} {
			file := filepath.Join(t.TempDir(), "g.yaml")
			writeFile(t, file, baseConfig(s.app.url, s.section())+fmt.Sprintf("requests: {allow_headers: [%q]}\n", name))
			if out, code := runCommand(t, "", "check", "--config", file); code != 1 || !strings.Contains(out, "requests.allow_headers[0]") {
				t.Errorf("check with %s allowed: exit %d, %s", name, code, out)
			}
		}
	}},

	{"H03_connection_header_does_not_lose_the_identity", onlyH1, func(t *testing.T, s *setup) {
		g, a := s.usual()
		b := s.browser(t, g)
		b.login(userEmail, userPassword)
		for _, line := range []string{"Connection: close, X-User-Id, X-User-Role, X-Forwarded-For", "Connection: close\r\nConnection: x-user-id , X-USER-ROLE,x-forwarded-for"} {
			parse(t, raw(t, g.addr, "GET /account HTTP/1.1\r\nHost: x\r\n"+cookieHeader(b)+"\r\n"+tagHeader+": "+s.tag+"\r\n"+line+"\r\n\r\n"))
			if h := a.last(t).Header; h.Get("X-User-Id") != "2" || h.Get("X-User-Role") != "user" || h.Get("X-Forwarded-For") != "127.0.0.1" {
				t.Errorf("%q: the app got %v", line, h)
			}
		}
	}},

	{"H04_forwarding_headers_of_strangers", both, strangersForwarding},
	{"H05_malformed_header_lines", both, malformedLines},
	{"H09_hostile_names", both, hostileNames},

	{"H10_client_address", both, func(t *testing.T, s *setup) {
		// That the peer of a unix socket is nobody is tested in package proxy: the gateway listens on none.
		a := startApp(t, nil)
		cfg := strings.Replace(baseConfig(a.url, s.section()), "{per_address: 6000/m, per_account: 6000/m, burst: 1000}", "{per_address: 1/m, per_account: 6000/m, burst: 1}", 1)
		g := s.start(t, cfg+"trusted_proxies: [127.0.0.0/8, 10.0.0.0/8]\n", withUsers())
		for _, c := range []struct{ forwarded, want string }{
			{"6.6.6.6, 9.9.9.9", "9.9.9.9"},
			{"6.6.6.6, 9.9.9.9, 10.1.1.1", "9.9.9.9"},
			{"6.6.6.6, 9.9.9.9, 10.2.2.2,10.1.1.1", "9.9.9.9"},
			{"9.9.9.9, nonsense, 10.1.1.1", "10.1.1.1"},
			{"9.9.9.9, , 10.1.1.1", "10.1.1.1"},
			{"9.9.9.9, 1.2.3.4.5", "127.0.0.1"},
			{"6.6.6.6\r\nX-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 10.1.1.1", "9.9.9.9"},
			{"6.6.6.6, ::ffff:9.9.9.9", "9.9.9.9"},
			{"6.6.6.6, 9.9.9.9, ::ffff:10.1.1.1", "9.9.9.9"},
			{"2001:db8::1", "2001:db8::1"},
			{"", "127.0.0.1"},
		} {
			s.one(t, g, "GET /public/", strings.Split("X-Forwarded-For: "+c.forwarded, "\r\n")...)
			if got := a.last(t).Header.Get("X-Forwarded-For"); got != c.want {
				t.Errorf("X-Forwarded-For %q: the app is told %q, want %q", c.forwarded, got, c.want)
			}
		}
		for _, c := range []struct {
			from string
			want int
		}{{"2001:db8:0:1::1", 401}, {"2001:db8:0:1:ffff::2", 429}, {"2001:db8:0:2::1", 401}, {"6.6.6.6, 192.0.2.1", 401}, {"9.9.9.9, 192.0.2.1", 429}, {"192.0.2.1, 192.0.2.2", 401}} {
			got, _ := s.send(t, g, request{line: "POST /login", headers: []string{"Content-Type: application/x-www-form-urlencoded", "X-Forwarded-For: " + c.from}, body: "email=a&password=b"})
			if got.StatusCode != c.want {
				t.Errorf("a login from %s: %s, want %d", c.from, got.Status, c.want)
			}
		}
	}},

	{"H11_echoed_headers_do_not_come_back", both, func(t *testing.T, s *setup) {
		a := startApp(t, func(w io.Writer, r seen) {
			id := r.Header.Get("X-User-Id")
			reply(w, "200 OK", "text/plain", "x", "X-User-Id: "+id, "x-USER-role: "+id, "X_User_Name: "+id, "X-User-Email-Verified: "+id, "X-Custom: 1")
		})
		for _, c := range []struct{ more, want string }{{"", ""}, {"requests: {strip_response_headers: false}\n", "2"}} {
			g := s.start(t, baseConfig(a.url, s.section())+c.more, withUsers())
			b := s.browser(t, g)
			b.login(userEmail, userPassword)
			for _, target := range []string{"/account", "/public/x"} {
				got := s.one(t, g, "GET "+target, cookieHeader(b))
				if got.Header.Get("X-User-Id") != c.want || got.Header.Get("X-User-Role") != c.want || got.Header.Get("X-User-Email-Verified") != c.want || got.Header.Get("X-Custom") != "1" {
					t.Errorf("with %q the client got %v", c.more, got.Header)
				}
				if c.want == "" && strings.Contains(strings.ToLower(fmt.Sprint(got.Header)), "user") {
					t.Errorf("with %q the client got %v", c.more, got.Header)
				}
			}
		}
	}},
}

// emptyAttributes (H01): what a user has not got is no header at all.
func emptyAttributes(t *testing.T, s *setup) {
	a := startApp(t, nil)
	users := strings.Replace(usersYAML(), `name: "Uma User", role: user`, `name: "", role: ""`, 1)
	cfg := baseConfig(a.url, s.section()) + "headers:\n  - {name: X-User-Name, value: name}\n  - {name: X-My.Role, value: role}\n  - {name: Uid, value: userId}\n"
	cfg = strings.Replace(cfg, "X-My.Role", "X-My-Role", 1)
	g := s.start(t, cfg, options{files: map[string]string{"users.yaml": users}})
	b := s.browser(t, g)
	b.login(userEmail, userPassword)
	s.one(t, g, "GET /account", cookieHeader(b), "X-My-Role: admin", "x-my_role: admin", "X-User-Name: Ada", "uid: 1", "UID: 3")
	raw := strings.ToLower(a.last(t).Raw)
	if strings.Contains(raw, "my-role") || strings.Contains(raw, "my_role") || strings.Contains(raw, "user-name") {
		t.Errorf("an attribute the user has not got arrives: %q", raw)
	}
	if strings.Count(raw, "\r\nuid: ") != 1 || !strings.Contains(raw, "\r\nuid: 2\r\n") {
		t.Errorf("a header with a name of the operator's: %q", raw)
	}
}

// forwarded are the headers by which proxies tell things, as a stranger may send them.
var forwarded = []string{"X-Forwarded-For: 6.6.6.6", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Uri: /admin",
	"X-Forwarded-Prefix: /evil", "X-Forwarded-Port: 666", "X-Forwarded-User: root", "X-Forwarded-Email: r@evil", "X-Forwarded-Groups: root",
	"Forwarded: for=6.6.6.6", "X-Real-Ip: 6.6.6.6", "X-Original-Url: /admin", "X-Rewrite-Url: /admin", "X-Original-Method: DELETE",
	"X-Http-Method-Override: DELETE", "Remote-User: root", "Proxy: http://evil"}

// strangersForwarding (H04).
func strangersForwarding(t *testing.T, s *setup) {
	g, a := s.usual()
	proto := map[string]string{overH1: "http", overH2: "https"}[s.version]
	arrives := func(g *gateway, a recorded) {
		t.Helper()
		if resp := s.one(t, g, "GET /public/forwarded", forwarded...); resp.StatusCode != http.StatusOK {
			t.Fatalf("answer %s", resp.Status)
		}
		r := a.last(t)
		own := map[string]string{"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": g.addr, "X-Forwarded-Proto": proto}
		for _, line := range forwarded {
			name, _, _ := strings.Cut(line, ":")
			if want, ok := own[name]; ok {
				if got := r.Header[name]; len(got) != 1 || got[0] != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			} else if r.Header[name] != nil {
				t.Errorf("the app got %s: %q", name, r.Header[name])
			}
		}
	}
	arrives(g, a)
	if entry := g.logged(t, map[string]any{"type": "access", "path": "/public/forwarded"}); entry["client"] != "127.0.0.1" {
		t.Errorf("the log believes the client is %v", entry["client"])
	}
	// None of them decides anything: not the path, the method, the host, the origin nor the address that is limited.
	for _, target := range []string{"/admin", "/account"} {
		if got := s.one(t, g, "GET "+target, "X-Original-Url: /public/", "X-Rewrite-Url: /public/", "X-Forwarded-Uri: /public/", "X-Forwarded-Prefix: /public", "X-Forwarded-User: 1", "Remote-User: 1"); got.StatusCode != 303 {
			t.Errorf("%s that says it is /public/: %s", target, got.Status)
		}
	}
	if got := s.one(t, g, "GET /public/", "X-Original-Url: /admin", "X-Rewrite-Url: /admin"); got.StatusCode != 200 || a.last(t).Target != "/public/" {
		t.Errorf("/public/ that says it is /admin: %s, forwarded as %s", got.Status, a.last(t).Target)
	}
	b := s.browser(t, g)
	b.login(userEmail, userPassword)
	if got := s.one(t, g, "GET /logout", cookieHeader(b), "X-Http-Method-Override: POST", "X-Original-Method: POST"); got.StatusCode != 200 || b.get("/account").StatusCode != 200 {
		t.Errorf("GET /logout that says it is a POST: %s", got.Status)
	}
	if got, _ := s.send(t, g, request{line: "POST /login", headers: []string{"Content-Type: application/x-www-form-urlencoded", "Origin: " + proto + "://evil.example", "X-Forwarded-Host: evil.example"},
		body: form("email", userEmail, "password", userPassword).Encode()}); got.StatusCode != 403 {
		t.Errorf("a login from the origin that X-Forwarded-Host tells: %s", got.Status)
	}
	cfg := strings.Replace(baseConfig(s.app.url, s.section()), "{per_address: 6000/m, per_account: 6000/m, burst: 1000}", "{per_address: 1/m, per_account: 6000/m, burst: 1}", 1)
	strict := s.start(t, cfg+"hosts: [127.0.0.1]\n", withUsers())
	for i, want := range []int{401, 429} {
		from := fmt.Sprintf("192.0.2.%d", i)
		got, _ := s.send(t, strict, request{line: "POST /login", headers: []string{"Content-Type: application/x-www-form-urlencoded", "X-Forwarded-For: " + from, "X-Real-Ip: " + from, "Forwarded: for=" + from}, body: "email=a&password=b"})
		if got.StatusCode != want {
			t.Errorf("login %d, each from another address it says: %s, want %d", i, got.Status, want)
		}
	}
	if got, _ := s.send(t, strict, request{line: "GET /public/", host: "evil.example", headers: []string{"X-Forwarded-Host: 127.0.0.1", "Forwarded: host=127.0.0.1"}}); got.StatusCode != 421 {
		t.Errorf("a host that is not served and says it is: %s", got.Status)
	}
	for _, all := range []string{"0.0.0.0/0", "::/0"} {
		file := filepath.Join(t.TempDir(), "g.yaml")
		writeFile(t, file, baseConfig(s.app.url, s.section())+fmt.Sprintf("trusted_proxies: [%q]\n", all))
		if out, code := runCommand(t, "", "check", "--config", file); code != 1 || !strings.Contains(out, "trusted_proxies[0]") {
			t.Errorf("check with %s: exit %d, %s", all, code, out)
		}
	}
}

// malformedLines (H05). Over HTTP/2 there are no lines: what cannot stand in a header must not become one.
func malformedLines(t *testing.T, s *setup) {
	g, a := s.usual()
	if s.h2() {
		for _, f := range []field{{Name: "x-user-id ", Value: "1"}, {Name: "x-user-id\t", Value: "1"}, {Name: " x-user-id", Value: "1"}, {Name: "x-a\rx-user-id", Value: "1"}, {Name: "x-a\x00", Value: "b"},
			{Name: "x-a:", Value: "b"}, {Name: "x-üser-id", Value: "1"}, {Name: "", Value: "1"}, {Name: "x-a", Value: "a\x00b"}, {Name: "x-a", Value: "a\rx-user-id: 1"}} {
			c := dialH2(t, g)
			if got := c.open(true, append(h2Header("GET", "/public/", g.addr, []string{tagHeader + ": " + s.tag}), f)...).answer(); !refusedWith(got, 400) {
				t.Errorf("%q: %s", f, got.Status)
			}
		}
	} else {
		for name, lines := range map[string]string{
			"space before colon": "X-User-Id : 1\r\n", "tab before colon": "X-User-Id\t: 1\r\n", "space before name": "X-A: a\r\n: 1\r\n",
			"bare CR": "X-A: a\rX-User-Id: 1\r\n", "bare CR in a name": "X-A\rX-User-Id: 1\r\n", "CR CR LF": "X-A: a\r\r\nX-User-Id: 1\r\n", "bare CR alone": "\rX-User-Id: 1\r\n",
			"NUL": "X-A: a\x00b\r\n", "NUL in a name": "X-A\x00: b\r\n", "NUL before an owned name": "\x00X-User-Id: 1\r\n",
			"UTF-8 in a name": "X-Üser-Id: 1\r\n", "Latin-1 in a name": "X-\xdcser-Id: 1\r\n", "no name": ": 1\r\n", "no colon": "X-User-Id\r\n",
			"DEL in a name": "X-A\x7f: b\r\n", "control character in a value": "X-A: a\x01b\r\n",
		} {
			if resp := parse(t, raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tagHeader+": "+s.tag+"\r\n"+lines+"\r\n")); resp.StatusCode != http.StatusBadRequest {
				t.Errorf("%s: %s, want 400", name, resp.Status)
			}
		}
	}
	if n := len(a.requests()); n != 0 {
		t.Fatalf("%d malformed requests reached the app", n)
	}
	if s.h2() {
		return
	}
	// Pinned: net/http joins a folded line to the one before, and a line that a bare LF ends is one.
	for name, c := range map[string]struct{ lines, value string }{"obs-fold": {"X-A: a\r\n X-User-Id: 1\r\n", "a X-User-Id: 1"}, "obs-fold by a tab": {"X-A: a\r\n\tX_User_Id: 1\r\n", "a X_User_Id: 1"}, "bare LF": {"X-A: a\nX-User-Id: 1\nx_user_id: 1\r\n", "a"}} {
		resp := parse(t, raw(t, g.addr, "GET /public/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"+tagHeader+": "+s.tag+"\r\n"+c.lines+"\r\n"))
		if resp.StatusCode != 200 {
			t.Errorf("%s: %s", name, resp.Status)
			continue
		}
		if r := a.last(t); r.Header.Get("X-A") != c.value || r.Header["X-User-Id"] != nil || strings.Contains(strings.ToLower(r.Raw), "\nx-user") || strings.Contains(strings.ToLower(r.Raw), "\nx_user") || strings.Contains(r.Raw, "\n ") || strings.Contains(r.Raw, "\n\t") {
			t.Errorf("%s: the app got %q", name, r.Raw)
		}
	}
}

// hostileNames (H09).
func hostileNames(t *testing.T, s *setup) {
	// The application tells the name: it has it from whoever registered. 1,400 letters of two bytes fit into a
	// session (4 KiB), and make a header of 8,400.
	long := strings.Repeat("ö", 1400)
	a := startApp(t, func(w io.Writer, r seen) {
		if r.Method == http.MethodPost {
			reply(w, "200 OK", "application/json", `{"ok":true,"id":2,"name":"Jösé\r\nX-Admin: 1\u0000\u007f%","role":"rölé","email":"`+long+`"}`)
			return
		}
		reply(w, "200 OK", "text/plain", "hello")
	})
	g := s.start(t, fmt.Sprintf(`upstream: %s
login:
  backend: app
  app:
    success: {json_field: ok}
    identity: {from: json, fields: {userId: id, name: name, role: role, email: email}}
session: {cookie: {secure: false}}
headers:
  - {name: X-User-Name, value: name}
  - {name: X-User-Email, value: email}
  - {name: X-Raw-Name, value: name, encoding: raw-utf8}
  - {name: X-Raw-Role, value: role, encoding: raw-utf8}
%s`, a.url, s.section()), options{})
	b := s.browser(t, g)
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
	if got := r.Header["X-User-Email"]; got != nil {
		t.Errorf("a value of more than 4 KiB was sent: %d bytes", len(got[0]))
	}
	for _, name := range []string{"X-Raw-Name", "X-User-Email"} {
		g.logged(t, map[string]any{"level": "warn", "header": name})
	}
}
