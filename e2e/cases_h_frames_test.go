package e2e

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// headerProtocolCases: what the two versions of HTTP have for headers besides headers (security case group H).
var headerProtocolCases = []securityCase{
	{"H06_malformed_frames", onlyH2, malformedFrames},
	{"H07_request_trailers", both, requestTrailers},
	{"H08_trailers_and_hints_of_the_app", both, responseTrailers},
}

// tap is an application that keeps every byte it is sent, over connections that stay open: what comes after a request
// on the same connection is the next one, and would be seen.
type tap struct {
	url string
	mu  sync.Mutex
	// got are the requests, each as its bytes.
	got []string
}

func startTap(t *testing.T) *tap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	a := &tap{url: "http://" + l.Addr().String()}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go a.serve(conn)
		}
	}()
	return a
}

func (a *tap) serve(conn net.Conn) {
	defer conn.Close()
	var bytes bytes.Buffer
	src := bufio.NewReader(io.TeeReader(conn, &bytes))
	for {
		r, err := http.ReadRequest(src)
		if err == nil {
			_, err = io.Copy(io.Discard, r.Body)
		}
		if err != nil {
			if bytes.Len() > 0 {
				a.keep(bytes.String() + "\n(cut off: " + err.Error() + ")")
			}
			return
		}
		a.keep(bytes.String())
		bytes.Reset()
		if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"); err != nil {
			return
		}
	}
}

func (a *tap) keep(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.got = append(a.got, text)
}

// take gives the requests so far, and forgets them.
func (a *tap) take() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	got := a.got
	a.got = nil
	return got
}

// malformedFrames (H06).
func malformedFrames(t *testing.T, s *setup) {
	g, a := s.usual()
	good := func() []field {
		return append(fields(":method", "GET", ":scheme", "https", ":authority", g.addr, ":path", "/public/"), field{Name: strings.ToLower(tagHeader), Value: s.tag})
	}
	with := func(pairs ...string) []field { return append(good(), fields(pairs...)...) }
	first := func(pairs ...string) []field { return append(fields(pairs...), good()...) }
	set := func(name, value string) []field {
		all := good()
		for i := range all {
			if all[i].Name == name {
				all[i].Value = value
			}
		}
		return all
	}
	without := func(name string) []field {
		return slices.DeleteFunc(good(), func(f field) bool { return f.Name == name })
	}
	for name, header := range map[string][]field{
		"upper-case name": with("X-User-Id", "1"), "one upper-case letter": with("x-user-iD", "1"),
		"CR in a name": with("x-a\rx-user-id", "1"), "LF in a name": with("x-a\nx-user-id", "1"), "CRLF in a name": with("x-a: b\r\nx-user-id", "1"), "NUL in a name": with("x-a\x00", "1"), "colon in a name": with("x-a:", "1"), "space in a name": with("x a", "1"),
		"CR in a value": with("x-a", "a\rx-user-id: 1"), "LF in a value": with("x-a", "a\nx-user-id: 1"), "CRLF in a value": with("x-a", "a\r\nx-user-id: 1"), "a request in a value": with("x-a", "a\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\n\r\n"), "NUL in a value": with("x-a", "a\x00b"),
		":method twice": first(":method", "POST"), ":scheme twice": first(":scheme", "http"), ":path twice": first(":path", "/admin"), "the same :path twice": first(":path", "/public/"), ":authority twice": first(":authority", "evil.example"),
		":path after a header": with(":path", "/admin"), "all after a header": append(fields("x-a", "b"), good()...), ":authority after a header": append(without(":authority"), fields(":authority", g.addr)...),
		"an unknown one": first(":user", "1"), "one of answers": first(":status", "200"), "one of WebSockets": first(":protocol", "websocket"),
		"no :method": without(":method"), "no :scheme": without(":scheme"), "no :path": without(":path"),
		"an empty :method": set(":method", ""), "an empty :path": set(":path", ""), "no slash in :path": set(":path", "public/"),
		"CRLF in :path": set(":path", "/public/ HTTP/1.1\r\nX-User-Id: 1\r\nX: "), "space in :path": set(":path", "/public/ HTTP/1.1"), "LF in :path": set(":path", "/public/\nx"), "NUL in :path": set(":path", "/public/\x00"), "space in a query": set(":path", "/public/?a b"),
		"CRLF in :authority": set(":authority", "x\r\nX-User-Id: 1"), "space in :authority": set(":authority", "a b"), "userinfo in :authority": set(":authority", "u@"+g.addr), "path in :authority": set(":authority", g.addr+"/admin"),
		"CRLF in :method": set(":method", "GET /admin HTTP/1.1\r\nX: "),
		"connection":      with("connection", "close"), "connection that names an owned header": with("connection", "x-user-id"), "keep-alive": with("keep-alive", "timeout=5"), "proxy-connection": with("proxy-connection", "keep-alive"),
		"transfer-encoding": with("transfer-encoding", "chunked"), "upgrade": with("upgrade", "websocket"), "te: gzip": with("te", "gzip"), "te: trailers, gzip": with("te", "trailers, gzip"),
	} {
		c := dialH2(t, g)
		resp := c.open(true, header...).answer()
		// A method with odd characters is one that is not allowed; that is as good.
		if !refusedWith(resp, 400) && !(strings.HasSuffix(name, ":method") && resp.StatusCode == 405) {
			t.Errorf("%s: %s", name, resp.Status)
		}
	}
	if n := len(a.requests()); n != 0 {
		t.Fatalf("%d malformed requests reached the app: %q", n, a.last(t).Raw)
	}
	// Of two hosts :authority is the one that counts, as RFC 9113 has it (8.3.1).
	for _, header := range [][]field{with("host", "evil.example"), with("host", "evil.example", "host", "other.example"), with("te", "trailers"), append(without(":authority"), fields("host", g.addr)...)} {
		resp := dialH2(t, g).open(true, header...).answer()
		if r := a.last(t); resp.StatusCode != 200 || r.Host != g.addr || strings.Contains(r.Raw, "evil") || strings.Contains(r.Raw, "other") || r.Header["Te"] != nil {
			t.Errorf("%q: %s, the app got %q", header, resp.Status, r.Raw)
		}
	}
	if got := s.one(t, g, "GET /public/"); got.StatusCode != 200 {
		t.Errorf("afterwards: %s", got.Status)
	}
}

// requestTrailers (H07). There is no route that opts in to `TE: trailers`.
func requestTrailers(t *testing.T, s *setup) {
	a := startTap(t)
	g := s.start(t, baseConfig(a.url, s.section()), withUsers())
	b := s.browser(t, g)
	b.login(userEmail, userPassword)
	trailers := []string{"X-User-Id: 1", "X_User_Role: admin", "X-Forwarded-For: 6.6.6.6", "X-Other-Trailer: 2", "Cookie: gatehouse=x"}
	for _, announced := range []string{"", "X-User-Id", "x-user-id, X-Other-Trailer, X_User_Role"} {
		for _, who := range []string{"a=b", "gatehouse=" + b.token()} {
			for _, te := range []string{"", "trailers"} {
				headers := []string{"Cookie: " + who}
				if announced != "" {
					headers = append(headers, "Trailer: "+announced)
				}
				if te != "" {
					headers = append(headers, "TE: "+te)
				}
				got, _ := s.send(t, g, request{line: "POST /public/", headers: headers, body: "hello", chunked: true, trailers: trailers})
				all := a.take()
				if got.StatusCode != 200 || len(all) != 1 {
					t.Fatalf("announced %q, TE %q: %s, %d requests: %q", announced, te, got.Status, len(all), all)
				}
				text := strings.ToLower(all[0])
				if strings.Contains(text, "\r\ntrailer:") || strings.Contains(text, "\r\nte:") || strings.Contains(text, "other-trailer") || strings.Contains(text, "6.6.6.6") || strings.Contains(text, "x_user") ||
					!strings.HasSuffix(text, "\r\n\r\n5\r\nhello\r\n0\r\n\r\n") || strings.Contains(text, "x-user-id: 1") || strings.Contains(text, "x-user-id: 2") != (who != "a=b") {
					t.Errorf("announced %q, TE %q, as %.9s: the app got %q", announced, te, who, all[0])
				}
			}
		}
	}
}

// responseTrailers (H08).
func responseTrailers(t *testing.T, s *setup) {
	const owned = "Set-Cookie: gatehouse=evil; Path=/\r\nSet-Cookie: other=1\r\nX-User-Id: 1\r\nx_user-role: admin\r\n"
	a := startApp(t, func(w io.Writer, r seen) {
		if r.Target == "/public/hints" {
			for i := range 20 {
				fmt.Fprintf(w, "HTTP/1.1 103 Early Hints\r\nLink: </%d.css>; rel=preload\r\n%s\r\n", i, owned)
			}
			_, _ = io.WriteString(w, "HTTP/1.1 102 Processing\r\n"+owned+"\r\n")
			reply(w, "200 OK", "text/plain", "x", "X-Sum: 7")
			return
		}
		announce := ""
		if r.Target == "/public/announced" {
			announce = "Trailer: Set-Cookie, X-User-Id, x_user-role, X-Sum\r\n"
		}
		_, _ = io.WriteString(w, "HTTP/1.1 200 OK\r\nConnection: close\r\n"+announce+"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 7\r\n"+owned+"\r\n")
	})
	g := s.start(t, baseConfig(a.url, s.section()), withUsers())
	clean := func(what string, h http.Header) {
		t.Helper()
		for name := range h {
			if name == "Set-Cookie" || strings.Contains(strings.ToLower(name), "user") {
				t.Errorf("%s: %v", what, h)
			}
		}
	}
	final, hints := s.send(t, g, request{line: "GET /public/hints", headers: []string{"TE: trailers"}})
	if final.StatusCode != 200 || len(hints) != 5 || final.Header.Get("X-Sum") != "7" {
		t.Errorf("%s after %d informational answers, want 5", final.Status, len(hints))
	}
	clean("the answer after hints", final.Header)
	for i, hint := range hints {
		clean("a hint", hint.Header)
		if hint.StatusCode != 103 || hint.Header.Get("Link") != fmt.Sprintf("</%d.css>; rel=preload", i) {
			t.Errorf("hint %d: %d %v", i, hint.StatusCode, hint.Header)
		}
	}
	for _, target := range []string{"/public/announced", "/public/unannounced"} {
		final, _ := s.send(t, g, request{line: "GET " + target, headers: []string{"TE: trailers"}})
		if body := bodyOf(t, final); final.StatusCode != 200 || body != "hello" || final.Trailer.Get("X-Sum") != "7" {
			t.Errorf("%s: %s %q, trailers %v", target, final.Status, body, final.Trailer)
		}
		clean(target, final.Header)
		clean(target, final.Trailer)
		if announced := strings.ToLower(fmt.Sprint(final.Header["Trailer"])); strings.Contains(announced, "cookie") || strings.Contains(announced, "user") {
			t.Errorf("%s: announced are %s", target, announced)
		}
	}
}
