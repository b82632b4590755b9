package pages_test

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
)

func TestProblemPage(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	for _, c := range []struct {
		name     string
		method   string
		problem  pages.Problem
		link     string // text and target of the one link, "" for none
		says     string
		retryHdr string
	}{
		{"403", "GET", pages.Problem{Status: 403}, "Go to the start page /", "Error 403 · Request req-7", ""},
		{"login", "GET", pages.Problem{Status: 403, LoginURL: "/login?next=%2Fa"}, "Log in /login?next=%2Fa", "", ""},
		{"503", "GET", pages.Problem{Status: 503, RetryAfter: 5 * time.Second}, "Try again ", "Try again in 5 seconds.", "5"},
		{"503 POST", "POST", pages.Problem{Status: 503, RetryAfter: 4100 * time.Millisecond}, "", "in 5 seconds.", "5"},
		{"one second", "GET", pages.Problem{Status: 429, RetryAfter: 1}, "Try again ", "in 1 second.", "1"},
		{"minutes", "GET", pages.Problem{Status: 429, RetryAfter: 91 * time.Second}, "Try again ", "in 2 minutes.", "91"},
		{"hours", "GET", pages.Problem{Status: 429, RetryAfter: 2 * time.Hour}, "Try again ", "in 2 hours.", "7200"},
		{"400", "GET", pages.Problem{Status: 400, Message: "No."}, "", "No. Error 400", ""},
		{"unheard of", "GET", pages.Problem{Status: 599}, "", "Error 599 The request", ""},
		{"known to HTTP only", "GET", pages.Problem{Status: 418}, "", "I'm a teapot", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			p.Problem(w, request(c.method, "/x"), c.problem)
			page := parse(t, w.Body)
			link := ""
			for _, a := range page.all("a") {
				link += a.text() + " " + a.get("href")
			}
			if w.Code != c.problem.Status || link != c.link || w.Header().Get("Retry-After") != c.retryHdr {
				t.Errorf("%d, link %q, Retry-After %q", w.Code, link, w.Header().Get("Retry-After"))
			}
			if says := page.one(t, "main").text(); !strings.Contains(says, c.says) {
				t.Errorf("says %q", says)
			}
		})
	}
}

func TestProblemJSON(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	w := httptest.NewRecorder()
	p.Problem(w, request("GET", "/api", "Accept", "application/json"), pages.Problem{
		Status: 401, Message: "Ünlucky <you>", LoginURL: "/login?next=%2Fapi", RetryAfter: time.Millisecond})
	var got map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"error": "unauthenticated", "message": "Ünlucky <you>", "status": 401.0,
		"request_id": "req-7", "login": "/login?next=%2Fapi"}
	for key, value := range want {
		if got[key] != value {
			t.Errorf("%s: %v, want %v", key, got[key], value)
		}
	}
	h := w.Header()
	if w.Code != 401 || h.Get("Content-Type") != "application/json" || h.Get("Retry-After") != "1" ||
		h.Get("Cache-Control") != "no-store" || h.Get("WWW-Authenticate") == "" {
		t.Errorf("%d %v", w.Code, h)
	}
	if strings.HasPrefix(strings.ToLower(h.Get("WWW-Authenticate")), "basic") {
		t.Error("a browser would open its own password window")
	}

	w = httptest.NewRecorder()
	p.JSON(w, request("GET", "/"), pages.Problem{Status: 503, Code: "store"})
	if body := w.Body.String(); !strings.Contains(body, `"error":"store"`) || strings.Contains(body, `"login"`) {
		t.Errorf("JSON for a browser: %s", body)
	}
}

func TestHeadAndLeftovers(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	get, head := httptest.NewRecorder(), httptest.NewRecorder()
	p.Problem(get, request("GET", "/"), pages.Problem{Status: 404})
	head.Header().Set("Content-Encoding", "gzip")
	head.Header().Set("Etag", `"x"`)
	head.Header().Set("Content-Length", "3")
	head.Header().Set("Set-Cookie", "kept=1")
	p.Problem(head, request("HEAD", "/"), pages.Problem{Status: 404})
	if head.Body.Len() != 0 || head.Code != 404 {
		t.Errorf("HEAD: %d with %d bytes", head.Code, head.Body.Len())
	}
	if head.Header().Get("Content-Length") != get.Header().Get("Content-Length") || get.Body.Len() == 0 {
		t.Errorf("HEAD says %s bytes, GET %s", head.Header().Get("Content-Length"), get.Header().Get("Content-Length"))
	}
	for _, name := range []string{"Content-Encoding", "Etag"} {
		if head.Header().Get(name) != "" {
			t.Errorf("%s of another body is left", name)
		}
	}
	if head.Header().Get("Set-Cookie") != "kept=1" {
		t.Error("a cookie set before is lost")
	}
}

func TestUnconfirmedLogout(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newPages(t, config.Pages{}).Problem(w, request("POST", "/logout"), pages.Problem{
		Status: 503, Code: pages.CodeLogoutUnconfirmed, Message: "Not confirmed.", RetryAfter: 5 * time.Second})
	text := w.Body.String()
	if got := parse(t, w.Body).one(t, "h1").text(); got != "Logged out, not yet confirmed" {
		t.Errorf("heading %q", got)
	}
	if strings.Contains(text, "Try again") || !strings.Contains(text, "Not confirmed.") || !strings.Contains(text, `href="/"`) {
		t.Errorf("the page says\n%s", text)
	}
	if w.Code != 503 || w.Header().Get("Retry-After") != "5" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}
