package login_test

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// List and RevokeUser of the real manager, noted.
func (f *faults) List(ctx context.Context, userID string) ([]*session.Record, error) {
	var none error
	_ = f.called("list "+userID, &none)
	return f.Manager.List(ctx, userID)
}

func (f *faults) RevokeUser(ctx context.Context, userID string, except ...session.ID) (int, error) {
	var none error
	_ = f.called("revoke all of "+userID, &none)
	return f.Manager.RevokeUser(ctx, userID, except...)
}

// List gives the user's sessions in memory.
func (s *appSessions) List(_ context.Context, userID string) (own []*session.Record, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for rec := range maps.Values(s.records) {
		if rec.User.ID == userID {
			own = append(own, rec)
		}
	}
	return own, nil
}

func (s *appSessions) RevokeUser(_ context.Context, userID string, except ...session.ID) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, rec := range s.records {
		if rec.User.ID == userID && !slices.Contains(except, id) {
			delete(s.records, id)
			n++
		}
	}
	return n, nil
}

const (
	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:127.0) Gecko/20100101 Firefox/127.0"
	pixel   = "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Mobile Safari/537.36"
)

// ask sends a request for the page of sessions; a target given is its query.
func (g *gate) ask(v visit) answer {
	if v.method == "" {
		v.method = http.MethodPost
	}
	r := httptest.NewRequest(v.method, "https://app.example/.gatehouse/sessions"+v.target, strings.NewReader(v.body))
	if v.body != "" {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if v.token != "" {
		r.Header.Set("Cookie", g.cookies.Name()+"="+v.token)
	}
	if slices.Contains(v.header, "Content-Type") {
		r.Header.Del("Content-Type")
	}
	for i := 0; i+1 < len(v.header); i += 2 {
		r.Header.Add(v.header[i], v.header[i+1])
	}
	facts := &telemetry.Request{ID: "req-1", Host: "app.example", HTTPS: true, Client: netip.MustParseAddr("192.0.2.1")}
	w := httptest.NewRecorder()
	g.Sessions(w, r.WithContext(telemetry.WithRequest(r.Context(), facts)))
	return answer{w, facts}
}

// from logs in with a User-Agent, from an address.
func (g *gate) from(t *testing.T, account, client, userAgent string) string {
	t.Helper()
	c := g.cookie(g.send(visit{body: typed(account, secret), client: client, header: []string{"User-Agent", userAgent}}))
	if c == nil {
		t.Fatalf("login of %s failed", account)
	}
	return c.Value
}

// idOf is the session ID of a token.
func idOf(token string) string {
	key, _ := session.ParseToken(token)
	return key.ID.String()
}

// shown is what the page says of one session.
type shown struct {
	device, title, id, facts string
	current                  bool
}

// listed reads the sessions out of the page.
func listed(t *testing.T, a answer) (all []shown) {
	t.Helper()
	root, err := html.Parse(strings.NewReader(a.Body.String()))
	if err != nil {
		t.Fatal(err)
	}
	for n := range root.Descendants() {
		if n.Data != "li" {
			continue
		}
		var s shown
		for c := range n.Descendants() {
			switch attr := attributesOf(c); {
			case c.Data == "h2":
				s.device, s.title = textOf(c), attr["title"]
			case attr["name"] == "id":
				s.id = attr["value"]
			case attr["class"] == "badge":
				s.current = true
			case c.Data == "dl":
				s.facts = textOf(c)
			}
		}
		all = append(all, s)
	}
	return all
}

func attributesOf(n *html.Node) map[string]string {
	all := make(map[string]string)
	for _, a := range n.Attr {
		all[a.Key] = a.Val
	}
	return all
}

func textOf(n *html.Node) string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// newRedisGate is a gate over a redis-server that can be killed, all by the gate's clock. Sessions seen in the last
// minute are served without it.
func newRedisGate(t *testing.T, changes ...func(*setup)) (*gate, *testredis.Server) {
	t.Helper()
	var s *setup
	g := newGate(t, append(changes, func(made *setup) { s = made })...)
	redis := testredis.Start(t)
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{redis.Addr}, Timeout: 2 * time.Second}, session.Options{Clock: g.clock})
	if err != nil {
		t.Fatal(err)
	}
	g.sessions.Close(context.Background())
	g.sessions.Manager = session.NewManager(store, s.session, config.Outage{ServeKnownFor: time.Minute}, session.Options{Clock: g.clock})
	return g, redis
}
