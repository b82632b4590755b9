package e2e

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// sampleLogin are the settings of `login.app` that fit package sample.
const sampleLogin = `success: {status: [302], location: ["/dashboard"]}
    identity: {from: whoami, whoami_path: /api/me, fields: {userId: id, email: email, name: name, role: role}}
    vault: httponly`

// appConfig is baseConfig with the application's own form as the backend; app are the settings of
// `login.app`.
func appConfig(upstream, redis, app string) string {
	cfg := strings.Replace(baseConfig(upstream, redis), "  backend: file\n  file: {path: users.yaml}\n", "  backend: app\n  app:\n    "+app+"\n", 1)
	if !strings.Contains(cfg, "backend: app") {
		panic("baseConfig has changed: there is no login section to replace")
	}
	return cfg
}

// spy stands before an application and notes what reaches it and the cookies it sets. Unlike the
// recording app of startApp it has a real application behind it.
type spy struct {
	next http.Handler

	mu   sync.Mutex
	set  []string
	seen []*http.Request
}

func (s *spy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.seen = append(s.seen, r.Clone(r.Context()))
	s.mu.Unlock()
	s.next.ServeHTTP(w, r)
	s.mu.Lock()
	s.set = append(s.set, w.Header()["Set-Cookie"]...)
	s.mu.Unlock()
}

// requests are those the application has got so far, as "METHOD target".
func (s *spy) requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.seen {
		out = append(out, r.Method+" "+r.RequestURI)
	}
	return out
}

// last is the newest request, nil when there is none.
func (s *spy) last() *http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		return nil
	}
	return s.seen[len(s.seen)-1]
}

// cookie is the value the application last gave the cookie of this name.
func (s *spy) cookie(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range slices.Backward(s.set) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			value, _, _ = strings.Cut(value, ";")
			return value
		}
	}
	return ""
}

// signInAtApp fills in the sample application's own form, hidden fields and all.
func (b *browser) signInAtApp(email, password string) answer {
	b.t.Helper()
	said.secret(password)
	fields := hiddenFields(b.get("/login").body)
	if len(fields) == 0 {
		b.t.Fatal("the application's form has no hidden field: it is not the form")
	}
	fields.Set("email", email)
	fields.Set("password", password)
	return b.post("/login", fields)
}
