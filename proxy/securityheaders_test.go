package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
)

// securityNames are the headers security_headers can add, in the order of the tests' tables.
var securityNames = []string{"Strict-Transport-Security", "X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy"}

// security gives what an answer says under these names.
func security(h http.Header) string {
	var out []string
	for _, name := range securityNames {
		out = append(out, strings.Join(h[name], ","))
	}
	return strings.Join(out, " | ")
}

func ptr[T any](v T) *T { return &v }

// everySecurityHeader is the section with all of them on.
func everySecurityHeader() config.SecurityHeaders {
	return config.SecurityHeaders{HSTS: ptr(24 * time.Hour), FrameOptions: "deny", ContentTypeOptions: ptr(true), ReferrerPolicy: "same-origin"}
}

// sayer is an application that sends the headers it is asked for.
var sayer = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	for name, values := range r.Header {
		if name, ok := strings.CutPrefix(name, "X-Want-"); ok {
			w.Header()[name] = values
		}
	}
	switch r.URL.Path {
	case "/hinted":
		w.WriteHeader(http.StatusEarlyHints)
	case "/moved":
		w.WriteHeader(http.StatusMovedPermanently)
	case "/missing":
		w.WriteHeader(http.StatusNotFound)
	}
})

func TestSecurityHeaders(t *testing.T) {
	t.Parallel()
	l := newLab(t, sayer, func(c *config.Config) {
		c.TrustedProxies = loopback
		c.SecurityHeaders = everySecurityHeader()
		rule := func(path string, h config.SecurityHeaders) {
			c.Rules = append(c.Rules, config.Rule{Path: path, Access: config.Public, SecurityHeaders: &h})
		}
		rule("/embed", config.SecurityHeaders{FrameOptions: config.Unset})
		rule("/framed", config.SecurityHeaders{FrameOptions: "sameorigin", HSTSIncludeSubdomains: ptr(true), HSTSPreload: ptr(true)})
		rule("/nothing", config.SecurityHeaders{HSTS: ptr(time.Duration(0)), FrameOptions: config.Unset, ContentTypeOptions: ptr(false), ReferrerPolicy: config.Unset})
		rule("/empty", config.SecurityHeaders{})
	})
	const all = "max-age=86400 | DENY | nosniff | same-origin"
	for _, c := range []struct {
		name, path, proto string
		says              []string
		want              string
	}{
		{"all, over https", "/", "https", nil, all},
		{"no HSTS over http", "/", "http", nil, " | DENY | nosniff | same-origin"},
		{"a redirect", "/moved", "https", nil, all},
		{"an error of the application's", "/missing", "https", nil, all},
		{"after 103", "/hinted", "https", nil, all},
		{"a rule's, key by key", "/embed/x", "https", nil, "max-age=86400 |  | nosniff | same-origin"},
		{"another's", "/framed", "https", nil, "max-age=86400; includeSubDomains; preload | SAMEORIGIN | nosniff | same-origin"},
		{"all turned off by a rule", "/nothing", "https", nil, " |  |  | "},
		{"a rule that says nothing", "/empty", "https", nil, all},
		{"the application's own frame options", "/", "https", []string{"X-Frame-Options", "SAMEORIGIN"}, "max-age=86400 | SAMEORIGIN | nosniff | same-origin"},
		{"its own policy", "/", "https", []string{"Referrer-Policy", "no-referrer"}, "max-age=86400 | DENY | nosniff | no-referrer"},
		{"its own HSTS", "/", "https", []string{"Strict-Transport-Security", "max-age=0"}, "max-age=0 | DENY | nosniff | same-origin"},
		{"its own where a rule turns it off", "/nothing", "https", []string{"X-Frame-Options", "DENY"}, " | DENY |  | "},
	} {
		headers := []string{"X-Forwarded-Proto", c.proto}
		for i := 0; i < len(c.says); i += 2 {
			headers = append(headers, "X-Want-"+c.says[i], c.says[i+1])
		}
		for range 2 { // values are shared between answers: the second must not see the first's
			if resp, _ := l.get(t, c.path, "", headers...); security(resp.Header) != c.want {
				t.Errorf("%s: %q, want %q", c.name, security(resp.Header), c.want)
			}
		}
	}
}

func TestSecurityHeadersAreOffByDefault(t *testing.T) {
	t.Parallel()
	l := newLab(t, sayer, func(c *config.Config) { c.TrustedProxies = loopback })
	if resp, _ := l.get(t, "/", "", "X-Forwarded-Proto", "https"); security(resp.Header) != " |  |  | " {
		t.Errorf("by default: %q", security(resp.Header))
	}
	if l.gateway.Forward.security != nil {
		t.Error("every request looks for headers there are none of")
	}
}

// TestSecurityHeadersOfTheGatewaysPages: they have their own, which no rule weakens, and the host's HSTS.
func TestSecurityHeadersOfTheGatewaysPages(t *testing.T) {
	t.Parallel()
	l := newLab(t, sayer, func(c *config.Config) {
		c.TrustedProxies = loopback
		c.SecurityHeaders = config.SecurityHeaders{HSTS: ptr(time.Hour), FrameOptions: "sameorigin", ReferrerPolicy: "unsafe-url"}
		c.Rules = append(c.Rules, config.Rule{Path: "/off", SecurityHeaders: &config.SecurityHeaders{HSTS: ptr(time.Duration(0))}})
	})
	for _, c := range []struct{ path, proto, want string }{
		{"/.gatehouse/none", "https", "max-age=3600 | DENY | nosniff | same-origin"},
		{"/.gatehouse/none", "http", " | DENY | nosniff | same-origin"},
		{"/private", "https", "max-age=3600 |  |  | "}, // to the login
		{"/off", "https", "max-age=3600 |  |  | "},
		{"/a%00", "https", "max-age=3600 | DENY | nosniff | same-origin"},
	} {
		if resp, _ := l.get(t, c.path, "", "X-Forwarded-Proto", c.proto); security(resp.Header) != c.want {
			t.Errorf("%s over %s: %q, want %q", c.path, c.proto, security(resp.Header), c.want)
		}
	}
}

// TestSecurityHeadersOfARelayedLogin: the application's own form is what clickjacking is about.
func TestSecurityHeadersOfARelayedLogin(t *testing.T) {
	t.Parallel()
	l := newLab(t, sayer, func(c *config.Config) {
		c.TrustedProxies = loopback
		c.SecurityHeaders = everySecurityHeader()
		c.Rules = append(c.Rules, config.Rule{Path: "/login", Access: config.Public, SecurityHeaders: &config.SecurityHeaders{HSTS: ptr(time.Duration(0)), FrameOptions: "sameorigin"}})
	})
	l.login.do = func(w http.ResponseWriter, r *http.Request) {
		resp, err := l.gateway.Forward.Send(r.Context(), r, http.MethodPost, "/login", nil, nil)
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		l.gateway.Forward.Relay(w, r, resp)
	}
	resp, _ := l.do(t, http.MethodPost, "/login", "", strings.NewReader("a=b"), "X-Forwarded-Proto", "https")
	if want := " | SAMEORIGIN | nosniff | same-origin"; security(resp.Header) != want {
		t.Errorf("%q, want %q", security(resp.Header), want)
	}
}

// TestSecurityHeadersOnFinalAnswersOnly: not on 103, and not on 101.
func TestSecurityHeadersOnFinalAnswersOnly(t *testing.T) {
	t.Parallel()
	l := newLab(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.WriteHeader(http.StatusEarlyHints)
			return
		}
		if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
			_ = conn.Close()
		}
	}), func(c *config.Config) {
		c.TrustedProxies = loopback
		c.SecurityHeaders = everySecurityHeader()
	})
	for _, c := range []struct{ headers, begins string }{
		{"", "HTTP/1.1 103"}, {"Connection: Upgrade\r\nUpgrade: websocket\r\n", "HTTP/1.1 101"},
	} {
		conn := dial(t, l)
		fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Forwarded-Proto: https\r\n%s\r\n", c.headers)
		src := bufio.NewReader(conn)
		var head []string
		for line, err := src.ReadString('\n'); err == nil && line != "\r\n"; line, err = src.ReadString('\n') {
			head = append(head, line)
		}
		if len(head) == 0 || !strings.HasPrefix(head[0], c.begins) {
			t.Fatalf("%q", head)
		}
		for _, name := range securityNames {
			if slices.ContainsFunc(head, func(line string) bool { return strings.HasPrefix(line, name+":") }) {
				t.Errorf("%s: %q", name, head)
			}
		}
	}
}

func TestSecurityHeadersAllocateNothing(t *testing.T) {
	headers, h := computeHeaders(everySecurityHeader()), make(http.Header, 16)
	if n := testing.AllocsPerRun(100, func() {
		clear(h)
		headers.add(h, true)
	}); n != 0 || len(h) != len(securityNames) {
		t.Errorf("%v allocations, %d headers", n, len(h))
	}
}
