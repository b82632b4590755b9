package soak

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

const (
	callers    = 16
	maxStreams = 40
	// endedBound is how long after its confirmed end a session may still be served by a replica that cannot be told,
	// because Redis is away: serve_known_for and the time to notice (README: the worst case), and some.
	endedBound = 70 * time.Second
	// maxEnded sessions are remembered and tried again.
	maxEnded = 500
)

// crowd are the visitors. Each is somebody's who is called by one goroutine only; what is shared is under mu.
type crowd struct {
	gateways []*gateway
	visitors []*visitor
	manager  *session.Manager // as an operator's tool would: past the gateways
	client   *http.Client
	counts   *counts
	streams  chan struct{}
	open     sync.WaitGroup

	mu    sync.Mutex
	wrong []string
	ended []ended
}

// visitor is somebody with a browser.
type visitor struct {
	user  int
	token string // "": not logged in
}

// ended is a session whose end was confirmed.
type ended struct {
	user  int
	token string
	at    time.Time
}

func newCrowd(t *testing.T, gateways []*gateway, redis string, n int) *crowd {
	t.Helper()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{redis}}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	c := &crowd{
		gateways: gateways, counts: newCounts(), streams: make(chan struct{}, maxStreams),
		manager: session.NewManager(store, config.Session{Idle: time.Hour, Absolute: time.Hour, MaxPerUser: 100, AtLimit: config.EvictOldest}, config.Outage{}, session.Options{}),
		client: &http.Client{
			Timeout: 30 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: callers},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	for i := range n {
		c.visitors = append(c.visitors, &visitor{user: i/sessionsEach + 1})
	}
	t.Cleanup(func() {
		c.client.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c.manager.Close(ctx)
	})
	return c
}

// run has the visitors do things until ctx ends.
func (c *crowd) run(ctx context.Context, rate int) {
	var all sync.WaitGroup
	for i := range callers {
		var mine []*visitor
		for j := i; j < len(c.visitors); j += callers {
			mine = append(mine, c.visitors[j])
		}
		if len(mine) == 0 {
			continue
		}
		all.Go(func() {
			tick := time.NewTicker(time.Second * callers / time.Duration(max(rate, 1)))
			defer tick.Stop()
			for n := 0; ; n++ {
				select {
				case <-ctx.Done():
					return
				case <-tick.C:
				}
				// First everybody once, so that all are logged in soon.
				v := mine[rand.IntN(len(mine))]
				if n < len(mine) {
					v = mine[n]
				}
				c.act(ctx, v, c.gateways[rand.IntN(len(c.gateways))])
			}
		})
	}
	all.Wait()
	c.open.Wait()
}

// act is one step of a visitor: mostly a request.
func (c *crowd) act(ctx context.Context, v *visitor, g *gateway) {
	switch dice := rand.IntN(1000); {
	case v.token == "":
		c.login(v, g)
	case dice < 15:
		c.logout(v, g)
	case dice < 25:
		c.login(v, g) // again, over the session there is: it is replaced
	case dice < 35:
		c.revoke(v)
	case dice < 45:
		c.stream(ctx, v, g, webSocket)
	case dice < 55:
		c.stream(ctx, v, g, events)
	case dice < 75:
		c.visitEnded(g)
	case dice < 85:
		c.visitForged(v, g)
	default:
		c.visit(v, g)
	}
}

// answer is a response that was read.
type answer struct {
	status int
	body   string
	cookie string // the gateway's, when it is set
}

func (c *crowd) send(method, target, token string, form url.Values) (answer, error) {
	req, err := http.NewRequest(method, target, strings.NewReader(form.Encode()))
	if err != nil {
		return answer{}, err
	}
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", strings.TrimSuffix(target, req.URL.Path))
	}
	if token != "" {
		req.Header.Set("Cookie", "gatehouse="+token)
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	a := answer{status: resp.StatusCode, body: string(body)}
	for _, cookie := range resp.Cookies() {
		if cookie.Name == "gatehouse" && cookie.MaxAge >= 0 {
			a.cookie = cookie.Value
		}
	}
	return a, err
}

// refused: the gateway knows of no such session, and says so to a browser or to a program.
func (a answer) refused() bool {
	return a.status == http.StatusUnauthorized || a.status == http.StatusSeeOther || a.status == http.StatusFound
}

// visit is a request of somebody who is logged in.
func (c *crowd) visit(v *visitor, g *gateway) {
	a, err := c.send(http.MethodGet, g.url+"/who", v.token, nil)
	switch {
	case err != nil:
		c.violate("%s broke off: %v", g.name, err)
	case a.status == http.StatusOK:
		c.saw(v.user, a.body, "an answer")
		c.counts.add(served)
	case a.status == http.StatusServiceUnavailable:
		c.counts.add(unavailable)
	case a.refused():
		c.violate("%s lost a session of user %d: %d", g.name, v.user, a.status)
		v.token = ""
	default:
		c.violate("%s answered %d: %.100s", g.name, a.status, a.body)
	}
}

// saw is the point of it all: whom the application saw must be who sent the cookie (S12).
func (c *crowd) saw(user int, who, in string) {
	if who != strconv.Itoa(user) {
		c.violate("the application saw user %.20q in %s to user %d", who, in, user)
	}
}

func (c *crowd) login(v *visitor, g *gateway) {
	a, err := c.send(http.MethodPost, g.url+"/login", v.token, url.Values{"email": {email(v.user)}, "password": {password}})
	switch {
	case err != nil:
		c.violate("%s broke off a login: %v", g.name, err)
	case a.status == http.StatusServiceUnavailable:
		// The session that was to be replaced may have ended or not.
		c.counts.add(unavailable)
		v.token = ""
	case a.status == http.StatusSeeOther && a.cookie != "":
		c.counts.add(loggedIn)
		c.end(v)
		v.token = a.cookie
	default:
		c.violate("%s answered a login with %d: %.100s", g.name, a.status, a.body)
	}
}

func (c *crowd) logout(v *visitor, g *gateway) {
	a, err := c.send(http.MethodPost, g.url+"/logout", v.token, nil)
	switch {
	case err != nil:
		c.violate("%s broke off a logout: %v", g.name, err)
	case a.status == http.StatusServiceUnavailable:
		c.counts.add(unconfirmed)
	case a.status == http.StatusSeeOther || a.status == http.StatusOK:
		c.counts.add(loggedOut)
		c.end(v)
	default:
		c.violate("%s answered a logout with %d: %.100s", g.name, a.status, a.body)
	}
	v.token = ""
}

func (c *crowd) revoke(v *visitor) {
	key, _ := session.ParseToken(v.token)
	if err := c.manager.Revoke(context.Background(), key, strconv.Itoa(v.user)); err != nil {
		c.counts.add(unconfirmed)
	} else {
		c.counts.add(revoked)
		c.end(v)
	}
	v.token = ""
}

// end remembers that the visitor's session has ended.
func (c *crowd) end(v *visitor) {
	if v.token == "" {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = append(c.ended, ended{v.user, v.token, time.Now()})
	c.ended = c.ended[max(0, len(c.ended)-maxEnded):]
}

// visitEnded tries a session that has ended.
func (c *crowd) visitEnded(g *gateway) {
	c.mu.Lock()
	if len(c.ended) == 0 {
		c.mu.Unlock()
		return
	}
	e := c.ended[rand.IntN(len(c.ended))]
	c.mu.Unlock()
	a, err := c.send(http.MethodGet, g.url+"/who", e.token, nil)
	switch {
	case err != nil:
		c.violate("%s broke off: %v", g.name, err)
	case a.status == http.StatusServiceUnavailable:
		c.counts.add(unavailable)
	case a.refused():
		c.counts.add(refusedEnded)
	case a.status != http.StatusOK:
		c.violate("%s answered an ended session with %d: %.100s", g.name, a.status, a.body)
	default:
		c.saw(e.user, a.body, "an ended session")
		c.counts.add(servedEnded)
		if since := time.Since(e.at); since > endedBound {
			c.violate("%s serves a session of user %d that ended %v ago", g.name, e.user, since)
		}
	}
}

// visitForged sends a token of the right form that nobody was given, for the visitor's user.
func (c *crowd) visitForged(v *visitor, g *gateway) {
	a, err := c.send(http.MethodGet, g.url+"/who", session.NewToken(strconv.Itoa(v.user)), nil)
	switch {
	case err != nil:
		c.violate("%s broke off: %v", g.name, err)
	case a.refused():
		c.counts.add(refusedForged)
	case a.status == http.StatusServiceUnavailable:
		c.counts.add(unavailable)
	default:
		c.violate("%s answered a forged session with %d: %.100s", g.name, a.status, a.body)
	}
}

func (c *crowd) violate(format string, args ...any) {
	c.counts.add(violation)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wrong) < 50 {
		c.wrong = append(c.wrong, fmt.Sprintf(format, args...))
	}
}

func (c *crowd) violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wrong
}
