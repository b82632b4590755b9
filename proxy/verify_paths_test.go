package proxy

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/hostile"
	"gatehouse/session"
)

// verifyPaths are enough for a mistake in hundred paths to be found for sure, and cost a second.
const verifyPaths = 400

// TestVerifyIsTheProxysDecision: for whatever path, verify says 200 exactly when the proxied request reaches the application, and
// tells of the same user.
func TestVerifyIsTheProxysDecision(t *testing.T) {
	t.Parallel()
	seed := p14Seed(t)
	for i, dialect := range dialects {
		rules := hostileRules[i%len(hostileRules)]
		var reached, user string
		l := newLab(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached, user = r.RequestURI, r.Header.Get("X-User-Id") }), func(cfg *config.Config) {
			cfg.Rules, cfg.Default = rules.rules, rules.def
			cfg.Verify = config.Verify{Dialect: dialect, Trusted: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")}}
		})
		l.server.Close()
		tokens := []string{"", l.sessions.add(session.User{ID: "7", Role: "user"}), l.sessions.add(session.User{ID: "8", Role: "admin"})}
		serve := func(target, token string, headers []string) *httptest.ResponseRecorder {
			r := &http.Request{Method: "GET", RequestURI: target, URL: &url.URL{Path: "/"}, Host: "app.example.com", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
				Header: http.Header{"Cookie": {"gatehouse=" + token}}, Body: http.NoBody, RemoteAddr: "192.0.2.1:1"}
			for i := 0; i < len(headers); i += 2 {
				r.Header.Set(headers[i], headers[i+1])
			}
			w := httptest.NewRecorder()
			l.gateway.ServeHTTP(w, r.WithContext(t.Context()))
			return w
		}
		rnd := rand.New(rand.NewPCG(seed, uint64(i)))
		passed := 0
		for range verifyPaths {
			path, token := "/"+strings.TrimPrefix(hostile.Path(rnd, nil), "/"), tokens[rnd.IntN(len(tokens))]
			reached, user = "", ""
			direct := serve(path, token, nil)
			asked := serve(verifyPath, token, question{uri: path, host: "app.example.com"}.lines(dialect))
			if (reached != "") != (asked.Code == 200) || asked.Code == 200 && asked.Header().Get("X-User-Id") != user {
				t.Fatalf("%s %q, seed %d: proxied %d, reached %q as %q; verify %d as %q", dialect, path, seed, direct.Code, reached, user, asked.Code, asked.Header().Get("X-User-Id"))
			}
			if asked.Code == 200 {
				passed++
			}
		}
		if passed < verifyPaths/10 || passed > verifyPaths*9/10 {
			t.Errorf("%s: %d of %d pass, which proves little", dialect, passed, verifyPaths)
		}
	}
}
