package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"gatehouse/session"
)

// TestS13_WhatSharedCachesWouldKeep: each way by which an answer becomes cacheable for all (RFC 9111), behind a protected path and on
// a public one for who is logged in.
func TestS13_WhatSharedCachesWouldKeep(t *testing.T) {
	t.Parallel()
	const expires = "Thu, 01 Jan 2099 00:00:00 GMT"
	app := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, values := range r.Header {
			if name, ok := strings.CutPrefix(name, "X-Want-"); ok {
				w.Header()[name] = values
			}
		}
		status, _ := strconv.Atoi(r.URL.Query().Get("status"))
		w.WriteHeader(max(status, 200))
	})
	l := newLab(t, app, nil)
	token := l.sessions.add(session.User{ID: "1"})
	for _, c := range []struct {
		name, status string
		says         []string // names and values
		want         string   // Cache-Control
	}{
		{"nothing, 200", "200", nil, "private"},
		{"nothing, 301", "301", []string{"Location", "/x"}, "private"},
		{"nothing, 404", "404", nil, "private"},
		{"nothing, 410", "410", nil, "private"},
		{"nothing, 304", "304", []string{"Etag", `"1"`}, "private"},
		{"Last-Modified, to guess by", "200", []string{"Last-Modified", "Thu, 01 Jan 2015 00:00:00 GMT"}, "private"},
		{"Expires alone", "200", []string{"Expires", expires}, "private"},
		{"Set-Cookie", "200", []string{"Set-Cookie", "a=b"}, "private"},
		{"Set-Cookie, for all", "200", []string{"Set-Cookie", "a=b", "Cache-Control", "public, max-age=60"}, "private, max-age=60"},
		{"Vary", "200", []string{"Vary", "Cookie", "Expires", expires}, "private"},
		{"Vary for all", "200", []string{"Vary", "*", "Cache-Control", "max-age=9"}, "private, max-age=9"},
		{"public", "200", []string{"Cache-Control", "public"}, "private"},
		{"in two lines", "200", []string{"Cache-Control", "max-age=60", "Cache-Control", "public"}, "private, max-age=60"},
		{"s-maxage", "200", []string{"Cache-Control", "s-maxage=60, private"}, "private"},
		{"s-maxage in quotes", "200", []string{"Cache-Control", `s-maxage="60"`}, "private"},
		{"public with a value", "200", []string{"Cache-Control", "public=1, no-cache"}, "private, no-cache"},
		{"revalidation by all", "200", []string{"Cache-Control", "proxy-revalidate, max-age=60"}, "private, proxy-revalidate, max-age=60"},
		{"immutable", "200", []string{"Cache-Control", "immutable, max-age=60"}, "private, immutable, max-age=60"},
		{"no-cache", "200", []string{"Cache-Control", "no-cache"}, "private, no-cache"},
		{"private of one header", "200", []string{"Cache-Control", `private="Set-Cookie", max-age=60`}, "private, max-age=60"},
		{"private of two", "200", []string{"Cache-Control", `private="Set-Cookie, X-Private", max-age=60`}, "private, max-age=60"},
		{"private, and of one", "200", []string{"Cache-Control", `private, private="Set-Cookie"`}, "private"},
		{"private inside quotes", "200", []string{"Cache-Control", `ext=", private, ", max-age=60`}, `private, ext=", private, ", max-age=60`},
		{"a quote in quotes", "200", []string{"Cache-Control", `ext="\", no-store, "`}, `private, ext="\", no-store, "`},
		{"no-store that is ignored", "200", []string{"Cache-Control", "must-understand, no-store, max-age=60"}, "private, no-store, max-age=60"},
		{"no-store", "200", []string{"Cache-Control", "no-store"}, "no-store"},
		{"no-store, for all", "200", []string{"Cache-Control", "public, no-store"}, "private, no-store"},
		{"private", "200", []string{"Cache-Control", "Private, max-age=60"}, "Private, max-age=60"},
		{"to a CDN", "200", []string{"Cache-Control", "private", "Cdn-Cache-Control", "max-age=60"}, "private"},
		{"to one CDN", "200", []string{"Cache-Control", "no-store", "Cloudflare-Cdn-Cache-Control", "public"}, "no-store"},
		{"to a surrogate", "200", []string{"Surrogate-Control", "max-age=60"}, "private"},
		{"to nginx", "200", []string{"Cache-Control", "private", "X-Accel-Expires", "60"}, "private"},
		{"to Akamai", "200", []string{"Edge-Control", "max-age=60"}, "private"},
	} {
		var headers []string
		for i := 0; i < len(c.says); i += 2 {
			headers = append(headers, "X-Want-"+c.says[i], c.says[i+1])
		}
		for _, path := range []string{"/private", "/"} {
			resp, _ := l.get(t, path+"?status="+c.status, token, headers...)
			if got := strings.Join(resp.Header["Cache-Control"], " | "); got != c.want || strconv.Itoa(resp.StatusCode) != c.status {
				t.Errorf("%s %s: %d, %q, want %q", c.name, path, resp.StatusCode, got, c.want)
			}
			for name := range resp.Header {
				if name == "X-Accel-Expires" || strings.HasPrefix(name, "Surrogate-") || strings.HasPrefix(name, "Edge-") || strings.HasSuffix(name, "-Cache-Control") {
					t.Errorf("%s %s: %s: %s reaches the cache", c.name, path, name, resp.Header.Get(name))
				}
			}
		}
		// What everybody gets is the application's own business.
		if resp, _ := l.get(t, "/?status="+c.status, "", headers...); len(c.says) > 0 && resp.Header.Get(c.says[0]) != c.says[1] {
			t.Errorf("%s, to nobody in particular: %s is %q", c.name, c.says[0], resp.Header.Get(c.says[0]))
		}
	}
}
