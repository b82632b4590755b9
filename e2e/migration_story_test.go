package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testredis"
)

const (
	// browsers are logged in at the application before there is a gateway.
	browsers = 50
	// sleepers of them close their laptop before the gateway comes, and open it when all is done.
	sleepers = 8
	// veterans of them stay all the time: all they have is what the application gave them, and what came of it.
	veterans = 16
	// newcomers have never been there before.
	newcomers = 10
)

// story is an application, the gateways that come before it, and everybody who uses it meanwhile.
type story struct {
	figures
	t      *testing.T
	app    *expressApp
	redis  *testredis.Server
	client *http.Client

	gateways atomic.Pointer[[]*gateway]
	stage    atomic.Pointer[string]
	// carts: people fill their carts.
	carts atomic.Bool

	shoppers []*shopper
	// awake are those who use their browsers now.
	awake []*shopper
	// stop ends what all of them do; end closes it and waits for them.
	stop    chan struct{}
	end     func()
	running sync.WaitGroup
	// faithful are those of whom one at a time logs in or out for the first time since; regulars are those who
	// come and go.
	faithful, regulars []*shopper
	turns              int
	// coming is held for reading while they do, each at some gateway.
	coming sync.RWMutex

	mu     sync.Mutex
	ghosts []*ghost
	// hauntings are how often all ghosts have tried; slowest is the longest time a logout took to be known
	// everywhere.
	hauntings, slowest atomic.Int64
}

func (s *story) stageName() string { return *s.stage.Load() }

// where says in which state something has happened, and at which gateway.
func (s *story) where(g *gateway) string {
	for i, other := range *s.gateways.Load() {
		if g == other {
			return s.stageName() + ", gateway " + strconv.Itoa(i+1)
		}
	}
	return s.stageName() + ", at " + g.url
}

// TestMigrationStory is the story Gatehouse was begun for: an application has users and sessions in PostgreSQL, its owner
// puts gateways before it, and moves to Redis in steps, and back, while everybody goes on. Nobody who was
// logged in has to log in again, nobody sees somebody else's page, nobody who has logged out comes back.
func TestMigrationStory(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	defer s.must(t)
	defer s.end()
	for _, v := range s.shoppers[:browsers] {
		v.login(s.app.url)
	}
	// One of them was there for the last time almost a week ago, and will be remembered for three hours more.
	testpostgres.Exec(t, s.app.database, fmt.Sprintf("UPDATE session SET expire = expire - interval '6 days 21 hours' WHERE sess->>'userId' = '%d'", s.shoppers[5].user.id))
	s.prepare()
	s.open(s.start("legacy", true), s.start("legacy", true))
	s.walk()
	s.end()
	t.Logf("every logout was known at both gateways after %v at the latest", time.Duration(s.slowest.Load()))
	sessions := space{server: s.redis}.indexHolds(t)
	if n := len(s.ghosts); n < 20 || sessions < veterans || s.requests.Load() < 1000 {
		t.Errorf("%d logouts, %d sessions, %d requests: too few to show anything", n, sessions, s.requests.Load())
	}
}

// walk goes through all states, and back once from primary.
func (s *story) walk() {
	s.come("legacy", state("legacy"), func() {})
	for _, v := range s.shoppers[:3] {
		v.login((*s.gateways.Load())[0].url) // once more, this time at the gateway, and then they sleep
	}
	s.come("shadow", state("shadow"), s.file("shadow", 0))
	s.come("canary 10", canary(10), s.set("canary", "--percent", "10"))
	s.come("canary 50", canary(50), s.set("canary", "--percent", "50"))
	s.come("primary", state("primary"), s.file("primary", 0))
	s.come("back to canary", canary(30), s.set("canary", "--percent", "30"))
	s.come("back to legacy", state("legacy"), s.file("legacy", 0))
	s.come("primary again", state("primary"), s.file("primary", 0))
	s.come("drain", state("drain"), s.set("drain", "--force"))
	s.backfill()
	s.come("done", state("done"), s.set("done", "--force"))
	s.wake()
	s.come("new gateways", state("done"), s.replace)
	s.come("no sessions table", state("done"), func() { testpostgres.Exec(s.t, s.app.database, "DROP TABLE session") })
}

func newStory(t *testing.T) *story {
	transport := &http.Transport{MaxIdleConnsPerHost: 256}
	t.Cleanup(transport.CloseIdleConnections)
	s := &story{
		t: t, app: startExpress(t, browsers+newcomers), redis: testredis.Start(t, testredis.Persistent()), stop: make(chan struct{}),
		client: &http.Client{Transport: transport, Timeout: 30 * time.Second,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	s.end = sync.OnceFunc(func() {
		close(s.stop)
		s.running.Wait()
	})
	begin := "before the gateway"
	s.stage.Store(&begin)
	s.carts.Store(true)
	for _, p := range s.app.people {
		s.shoppers = append(s.shoppers, s.newShopper(p))
	}
	s.faithful, s.regulars = s.shoppers[sleepers+veterans:browsers], slices.Clone(s.shoppers[browsers:])
	return s
}

// open puts the gateways before the application, and people use them from then on.
func (s *story) open(gateways ...*gateway) {
	s.gateways.Store(&gateways)
	s.use(s.shoppers[sleepers:]...)
	s.running.Go(func() { s.hauntAll(s.stop) })
}

// use lets people use their browsers until stop is closed.
func (s *story) use(shoppers ...*shopper) {
	s.awake = append(s.awake, shoppers...)
	for _, v := range shoppers {
		for tab := range v.rounds {
			s.running.Go(func() { v.browse(tab, s.stop) })
		}
	}
}

// come goes over to a state while everybody is busy: change brings it about, people log in and out
// meanwhile and afterwards, and nobody leaves before each tab has been used in it.
func (s *story) come(stage string, metrics []string, change func()) {
	s.t.Helper()
	began, before := time.Now(), s.requests.Load()
	s.stage.Store(&stage)
	var meanwhile sync.WaitGroup
	meanwhile.Go(s.comeAndGo)
	change()
	s.follow(metrics)
	meanwhile.Wait()
	s.comeAndGo()
	s.rounds(2)
	s.t.Logf("%-17s %4.1f s, %5d requests, %2d ghosts", stage, time.Since(began).Seconds(), s.requests.Load()-before, len(s.ghosts))
}

// state and canary are the metrics of a gateway that has gone over.
func state(name string) []string {
	return []string{`gatehouse_migration_state{state="` + name + `"} 1`}
}

func canary(percent int) []string {
	return append(state("canary"), fmt.Sprintf("gatehouse_migration_canary_percent %d", percent))
}

// follow waits until all gateways show the metrics.
func (s *story) follow(metrics []string) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("all gateways to show %q", metrics), func() bool {
		for _, g := range *s.gateways.Load() {
			for _, m := range metrics {
				at := strings.LastIndexByte(m, ' ')
				if g.metric(s.t, m[:at]) != m[at+1:] {
					return false
				}
			}
		}
		return true
	})
}

// rounds waits until each tab has been used n more times, and each ghost has tried once more.
func (s *story) rounds(n int64) {
	s.t.Helper()
	type tab struct {
		rounds *atomic.Int64
		want   int64
	}
	var tabs []tab
	for _, v := range s.awake {
		for i := range v.rounds {
			tabs = append(tabs, tab{&v.rounds[i], v.rounds[i].Load() + n})
		}
	}
	tabs = append(tabs, tab{&s.hauntings, s.hauntings.Load() + 1})
	deadline := time.Now().Add(time.Minute)
	for _, tab := range tabs {
		for tab.rounds.Load() < tab.want {
			if time.Now().After(deadline) {
				s.t.Fatalf("%s: a browser has had no answer for a minute", s.stageName())
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// comeAndGo lets people log in and out in the present state: one who has only what the application gave them leaves, or
// logs in anew; of the others one logs in anew, one logs out and stays out, or comes back, and at one browser
// somebody else takes over.
func (s *story) comeAndGo() {
	s.coming.RLock()
	defer s.coming.RUnlock()
	turn := func() (*shopper, *gateway) {
		s.turns++
		gateways := *s.gateways.Load()
		return s.regulars[s.turns%len(s.regulars)], gateways[s.turns/2%len(gateways)]
	}
	if len(s.faithful) > 0 {
		_, g := turn()
		first := s.faithful[0]
		s.faithful, s.regulars = s.faithful[1:], append(s.regulars, first)
		if len(s.faithful)%2 == 0 {
			first.login(g.url)
		} else {
			first.logout(g)
		}
	}
	again, g := turn()
	again.login(g.url)
	comesOrGoes, g := turn()
	if comesOrGoes.in {
		comesOrGoes.logout(g)
	} else {
		comesOrGoes.login(g.url)
	}
	changes, g := turn()
	if changes.in {
		changes.logout(g)
	}
	changes.loginAs(s.app.people[(changes.user.id+6)%len(s.app.people)], g.url)
}

// wake lets those who have slept through all of it come back: they are still logged in. One logs out as the first
// thing, one logs in anew; they have no other cookie than the application's.
func (s *story) wake() {
	g := (*s.gateways.Load())[0]
	s.shoppers[6].logout(g)
	s.shoppers[7].login(g.url)
	s.use(s.shoppers[:sleepers]...)
	s.rounds(2)
}
