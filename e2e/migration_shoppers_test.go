package e2e

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pace is how long a tab rests between two requests, on average: two cores run all of this.
const pace = 500 * time.Millisecond

// figures are what a migration is judged by.
type figures struct {
	requests atomic.Int64
	// forcedLogins: somebody who was logged in was sent to log in.
	forcedLogins atomic.Int64
	// wrongUsers: somebody was shown somebody else's page.
	wrongUsers atomic.Int64
	// lostRevocations: a session that had ended was served.
	lostRevocations atomic.Int64
	// failures: answers of 500 and above, and none at all.
	failures atomic.Int64
	// lostCarts: what the application keeps in a session beside the login was not what it had been.
	lostCarts atomic.Int64

	mu       sync.Mutex
	examples []string
}

// count counts something that must not be, and keeps the first ones to be looked at.
func (f *figures) count(figure *atomic.Int64, format string, args ...any) {
	figure.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.examples) < 25 {
		f.examples = append(f.examples, fmt.Sprintf(format, args...))
	}
}

// must fails the test for every figure that is not nought.
func (f *figures) must(t *testing.T) {
	t.Helper()
	t.Logf("%d requests: %d forced logins, %d wrong users, %d lost revocations, %d answers of 500 and above, %d lost carts", f.requests.Load(),
		f.forcedLogins.Load(), f.wrongUsers.Load(), f.lostRevocations.Load(), f.failures.Load(), f.lostCarts.Load())
	if f.forcedLogins.Load()+f.wrongUsers.Load()+f.lostRevocations.Load()+f.failures.Load()+f.lostCarts.Load() > 0 {
		t.Errorf("such as:\n%s", strings.Join(f.examples, "\n"))
	}
}

// shopper is somebody with a browser with two tabs, each at another gateway.
type shopper struct {
	s      *story
	client *http.Client

	// mu is held for writing while they log in or out: pages that load meanwhile may show either.
	mu   sync.RWMutex
	user person
	in   bool
	// items in their cart, which begins empty with each login.
	items int
	// rounds are the requests each tab has had answered.
	rounds [2]atomic.Int64
}

// newShopper has a browser without cookies. All browsers share connections, as behind a load balancer.
func (s *story) newShopper(user person) *shopper {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	client := *s.client
	client.Jar = jar
	return &shopper{s: s, client: &client, user: user}
}

// send sends a request and reads the answer. It fails no test: all goroutines use it.
func (v *shopper) send(method, url, body string) (answer, error) {
	got, err := send(v.client, method, url, "", body)
	if err == nil {
		v.remember()
	}
	return got, err
}

// remember puts the browser's cookies among the secrets that no log may hold.
func (v *shopper) remember() {
	for _, c := range v.cookies() {
		said.secret(c.Value)
	}
}

// cookies are what the browser sends now. It knows one host: a cookie has no port.
func (v *shopper) cookies() []*http.Cookie {
	u, _ := url.Parse(v.s.app.url)
	return v.client.Jar.Cookies(u)
}

// browse uses a tab until stop is closed.
func (v *shopper) browse(tab int, stop <-chan struct{}) {
	for n := 0; ; n++ {
		rest := time.NewTimer(pace/2 + rand.N(pace))
		select {
		case <-stop:
			rest.Stop()
			return
		case <-rest.C:
		}
		v.mu.RLock()
		gateways := *v.s.gateways.Load()
		g := gateways[(tab+n)%len(gateways)]
		// Only one tab fills the cart: express-session loses one of two changes at a time.
		if tab == 0 && n%4 == 3 && v.in && v.s.carts.Load() {
			v.buy(g)
		} else {
			v.look(g)
		}
		v.mu.RUnlock()
		v.rounds[tab].Add(1)
	}
}

// look asks who one is.
func (v *shopper) look(g *gateway) {
	got, err := v.send("GET", g.url+"/me", "")
	if v.answered("GET /me", g, got, err) && got.StatusCode == 200 && got.who().Email != v.user.email {
		v.s.count(&v.s.wrongUsers, "%s: GET /me of %s shows %s", v.s.where(g), v.user.email, got.body)
	}
}

// buy puts one more thing into the cart.
func (v *shopper) buy(g *gateway) {
	got, err := v.send("POST", g.url+"/cart", "")
	if !v.answered("POST /cart", g, got, err) || got.StatusCode != 200 {
		return
	}
	w := got.who()
	if w.ID != v.user.id {
		v.s.count(&v.s.wrongUsers, "%s: POST /cart of %s answers %s", v.s.where(g), v.user.email, got.body)
	}
	if w.Items != v.items+1 {
		v.s.count(&v.s.lostCarts, "%s: the cart of %s holds %d, want %d", v.s.where(g), v.user.email, w.Items, v.items+1)
	}
	v.items = w.Items
}

// answered judges an answer by whether one is logged in.
func (v *shopper) answered(what string, g *gateway, got answer, err error) bool {
	s := v.s
	s.requests.Add(1)
	switch {
	case err != nil:
		s.count(&s.failures, "%s: %s of %s: %v", s.where(g), what, v.user.email, err)
		return false
	case got.StatusCode >= 500:
		s.count(&s.failures, "%s: %s of %s: %s, %.200s", s.where(g), what, v.user.email, got.Status, got.body)
	case v.in && got.StatusCode != 200:
		s.count(&s.forcedLogins, "%s: %s of %s, who is logged in: %s to %s; cookies %s", s.where(g), what, v.user.email, got.Status, got.location(), names(v.cookies()))
	case !v.in && got.StatusCode == 200:
		s.count(&s.lostRevocations, "%s: %s of %s, who has logged out: %s", s.where(g), what, v.user.email, got.body)
	}
	return true
}

// login logs in at a gateway, or at the application before there was one.
func (v *shopper) login(base string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := &ghost{user: v.user, cookies: v.cookies(), since: v.s.stageName()}
	got, err := v.send("POST", base+"/login", form("email", v.user.email, "password", v.user.password).Encode())
	v.s.requests.Add(1)
	if err != nil || got.StatusCode != 303 || len(got.Cookies()) == 0 {
		v.s.count(&v.s.failures, "%s: login of %s: %v, %v", v.s.stageName(), v.user.email, got.Response, err)
		return
	}
	if v.in { // a new login ends the session before it
		v.s.haunt(left)
	}
	v.in, v.items = true, 0
}

// loginAs logs in as somebody else.
func (v *shopper) loginAs(user person, base string) {
	v.mu.Lock()
	v.user = user
	v.mu.Unlock()
	v.login(base)
}

// logout logs out, and leaves a ghost: somebody who has kept the cookies.
func (v *shopper) logout(g *gateway) {
	v.mu.Lock()
	defer v.mu.Unlock()
	left := &ghost{user: v.user, cookies: v.cookies(), since: v.s.stageName()}
	got, err := v.send("POST", g.url+"/logout", "")
	v.s.requests.Add(1)
	if err != nil || got.StatusCode != 303 {
		v.s.count(&v.s.failures, "%s: logout of %s: %v, %v", v.s.where(g), v.user.email, got.Response, err)
		return
	}
	v.in = false
	v.s.haunt(left)
}

// ghost is a session that has ended, in the hands of somebody who tries its cookies again and again.
type ghost struct {
	user    person
	cookies []*http.Cookie
	since   string // the stage in which it ended
}

// tries are all its cookies together, and each of them alone.
func (g *ghost) tries() [][]*http.Cookie {
	all := [][]*http.Cookie{g.cookies}
	if len(g.cookies) > 1 {
		for _, c := range g.cookies {
			all = append(all, []*http.Cookie{c})
		}
	}
	return all
}

// haunt lets a ghost in. Other replicas hear of a logout within milliseconds, on a machine with nothing
// else to do; from then on there is no answer for it any more.
func (s *story) haunt(g *ghost) {
	began := time.Now()
	for s.seen(g, g.tries()...) != "" && time.Since(began) < 5*time.Second { // then it is counted with its next try
		time.Sleep(5 * time.Millisecond)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ghosts = append(s.ghosts, g)
	s.slowest.Store(max(s.slowest.Load(), int64(time.Since(began))))
}

// seen says where a ghost is served with these cookies, "" when it is nowhere.
func (s *story) seen(g *ghost, tries ...[]*http.Cookie) string {
	for _, gw := range *s.gateways.Load() {
		for _, cookies := range tries {
			me, err := s.knock(gw.url+"/me", cookies)
			if err != nil || me.StatusCode != 303 || !strings.HasPrefix(me.location(), "/login") {
				return fmt.Sprintf("%s: GET /me with %s of %s, who has logged out in %s: %v %v", s.where(gw), names(cookies), g.user.email, g.since, me.body, err)
			}
			if public, err := s.knock(gw.url+"/public", cookies); err != nil || public.who().Hello != "stranger" {
				return fmt.Sprintf("%s: GET /public with %s of %s, who has logged out in %s: %v %v", s.where(gw), names(cookies), g.user.email, g.since, public.body, err)
			}
		}
	}
	return ""
}

// hauntAll lets all ghosts try again and again until stop is closed.
func (s *story) hauntAll(stop <-chan struct{}) {
	for n := 0; ; n++ {
		s.mu.Lock()
		ghosts := slices.Clone(s.ghosts)
		s.mu.Unlock()
		for _, g := range ghosts {
			tries := g.tries()
			if where := s.seen(g, tries[n%len(tries)]); where != "" {
				s.count(&s.lostRevocations, "%s", where)
			}
		}
		s.hauntings.Add(1)
		select {
		case <-stop:
			return
		case <-time.After(pace):
		}
	}
}

// knock sends a request with these cookies and no others.
func (s *story) knock(url string, cookies []*http.Cookie) (answer, error) {
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return answer{}, err
	}
	s.requests.Add(1)
	req.Header.Set("Accept", "text/html")
	for _, c := range cookies {
		req.AddCookie(c)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return answer{resp, string(body)}, err
}

// names are the names of cookies.
func names(cookies []*http.Cookie) string {
	var all []string
	for _, c := range cookies {
		all = append(all, c.Name)
	}
	return strings.Join(all, "+")
}
