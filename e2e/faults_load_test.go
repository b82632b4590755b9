package e2e

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// The load under which every fault happens: requests on 100 sessions, over two replicas. It is an open loop, requests are
// sent on time whatever became of those before: a fault that makes answers slow would thin out any other load, and hide itself.
const loadSessions = 100

// loadEvery is the pace of the load: 200 requests a second under `make faults`, which runs alone, and 50 among the other
// tests. There several faults happen at the same time, and more than the machine can do would be measured as theirs.
func loadEvery() time.Duration {
	if *faultLength < 10*time.Second {
		return 20 * time.Millisecond
	}
	return 5 * time.Millisecond
}

// crowdFromOneAddress: an open loop opens a connection for every request that waits, all from this machine.
const crowdFromOneAddress = "connection_limits: {per_address: 20000, total: 20000}\n"

// loadUser is somebody with a session of their own.
type loadUser struct{ id, token string }

// loadRun is a fault, its load, and what was seen.
type loadRun struct {
	t           *testing.T
	here, there *gateway
	// crowd is who the load consists of. Their sessions are known to both replicas when the fault happens.
	crowd []loadUser
	// ended logged out before the fault, leaving do during it.
	ended, leaving []loadUser
	// strangers and spare are for finding out whether all is well again: the former unknown to a replica, the
	// latter to be logged out.
	strangers, spare []loadUser
	client           *http.Client

	mu    sync.Mutex
	left  []departure
	tally faultFigures
}

// maxTries is how many logouts recover may try.
const maxTries = 400

// departure is a logout during the fault.
type departure struct {
	loadUser
	confirmed bool
}

// faultFigures are a row of the table of faults.
type faultFigures struct {
	requests int
	// refused requests had a session both replicas knew.
	refused int
	// wrong admissions: of sessions that had ended, of made-up ones, or as somebody else.
	wrong int
	// cleared cookies, of those who had a session.
	cleared int
	longest time.Duration
	// normal is how long after the end of the fault everything works again.
	normal time.Duration
	// lost logouts had been confirmed and were undone.
	lost, confirmed int
	examples        []string
}

// newLoadRun writes everybody's sessions and has both replicas see them. write is a client of the Redis, or of the
// Cluster, that the gateways use.
func newLoadRun(t *testing.T, here, there *gateway, write rueidis.Client, leaving int) *loadRun {
	t.Helper()
	people := enroll(t, write, loadSessions+leaving+20+maxTries)
	r := &loadRun{t: t, here: here, there: there, client: plainClient(t)}
	r.client.Transport.(*http.Transport).MaxIdleConnsPerHost = 512
	r.crowd, people = people[:loadSessions], people[loadSessions:]
	r.leaving, people = people[:leaving], people[leaving:]
	r.ended, r.strangers, r.spare = people[:10], people[10:20], people[20:]
	for _, p := range slices.Concat(r.crowd, r.ended, r.leaving) {
		for _, g := range []*gateway{here, there} {
			// On a busy machine the first question may take longer than redis.timeout; what is known counts from here on.
			eventually(t, "the session of user "+p.id+" to be served before the fault", func() bool {
				got, err := send(r.client, "GET", g.url+"/account", p.token, "")
				return err == nil && isFor(got, p)
			})
		}
	}
	for _, p := range r.ended {
		if got, err := send(r.client, "POST", here.url+"/logout", p.token, ""); err != nil || got.StatusCode != 303 {
			t.Fatalf("a logout before the fault: %v, %v", got.Response, err)
		}
	}
	for _, p := range r.ended {
		eventually(t, "the other replica to hear of it", func() bool {
			got, err := send(r.client, "GET", there.url+"/account", p.token, "")
			return err == nil && got.StatusCode == 303
		})
	}
	return r
}

// enroll writes n people's sessions as logins write them.
func enroll(t *testing.T, write rueidis.Client, n int) []loadUser {
	t.Helper()
	people := make([]loadUser, n)
	const layout = "2006-01-02T15:04:05.000Z"
	now, ttl := time.Now().UTC(), 7*24*time.Hour
	for i := range people {
		secret := make([]byte, 32)
		rand.Read(secret)
		id := strconv.Itoa(1000 + i)
		p := loadUser{id: id, token: tagOf(id) + "." + base64.RawURLEncoding.EncodeToString(secret)}
		said.secret(p.token)
		sp := space{}
		record := fmt.Sprintf(`{"v":1,"id":%q,"userId":%s,"email":"%s@example.com","name":"User %s","emailVerified":true,"role":"user","createdAt":%q,"lastAccessed":%q,"expiresAt":%q}`,
			sessionID(p.token), id, id, id, now.Format(layout), now.Format(layout), now.Add(30*24*time.Hour).Format(layout))
		end := strconv.FormatInt(now.Add(ttl).UnixMilli(), 10)
		for _, cmd := range []rueidis.Completed{
			write.B().Set().Key(sp.session(p.token)).Value(record).Px(ttl).Build(),
			write.B().Arbitrary("ZADD").Keys(sp.index(id)).Args(end, sessionID(p.token)).Build(),
			write.B().Pexpire().Key(sp.index(id)).Milliseconds(ttl.Milliseconds() + 1000).Build(),
		} {
			if err := write.Do(t.Context(), cmd).Error(); err != nil {
				t.Fatal(err)
			}
		}
		people[i] = p
	}
	return people
}

func isFor(got answer, p loadUser) bool {
	return got.Response != nil && got.StatusCode == 200 && strings.HasPrefix(got.body, "user="+p.id+" ")
}

// load sends requests until the function it gives is called, which waits for the last answer.
func (r *loadRun) load() (end func()) {
	stop := make(chan struct{})
	var all sync.WaitGroup
	every := loadEvery()
	impostors := int(50 * time.Millisecond / every) // one in so many requests, twenty a second and more
	all.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		began, sent := time.Now(), 0
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
			}
			// A ticker drops ticks that nobody takes in time: those are made up for.
			for ; sent < int(time.Since(began)/every); sent++ {
				n := sent
				all.Go(func() { r.known(n) })
				if n%impostors == 0 {
					all.Go(func() { r.impostor(n / impostors) })
				}
			}
		}
	})
	return func() {
		close(stop)
		all.Wait()
	}
}

func (r *loadRun) replica(i int) *gateway { return []*gateway{r.here, r.there}[i%2] }

// known is a request of somebody whose session both replicas know.
func (r *loadRun) known(i int) {
	p := r.crowd[i/2%len(r.crowd)]
	began := time.Now()
	got, err := send(r.client, "GET", r.replica(i).url+"/account", p.token, "")
	took := time.Since(began)
	r.mu.Lock()
	defer r.mu.Unlock()
	f := &r.tally
	f.requests++
	f.longest = max(f.longest, took)
	switch {
	case err != nil:
		f.refused++
		f.example("known: %v", err)
	case got.StatusCode != 200:
		f.refused++
		f.example("known: %s", got.Status)
	case !isFor(got, p):
		f.wrong++
		f.example("user %s was served as %q", p.id, got.body)
	}
	if err == nil && clears(got) {
		f.cleared++
		f.example("a cookie was touched: %q", got.Header["Set-Cookie"])
	}
}

// clears reports whether an answer takes the browser's cookie away, or gives another.
func clears(got answer) bool {
	return strings.Contains(strings.Join(got.Header["Set-Cookie"], "\n"), "gatehouse=")
}

// impostor is a request that must not be served: with a session that has ended, or one that never was.
func (r *loadRun) impostor(i int) {
	var token string
	g := r.replica(i)
	r.mu.Lock()
	switch n := i / 2 % (len(r.ended) + 2); {
	case n < len(r.ended):
		token = r.ended[n].token
	case n == len(r.ended):
		token = tagOf("1000") + "." + strings.Repeat("A", 43)
	default:
		// Who logged out during the fault is refused where they did, at once; elsewhere as soon as Redis can tell.
		// Those that were confirmed settle looks at.
		if len(r.left) > 0 && !r.left[i%len(r.left)].confirmed {
			token, g = r.left[i%len(r.left)].token, r.here
		}
	}
	r.mu.Unlock()
	got, err := send(r.client, "GET", g.url+"/account", token, "")
	if err == nil && got.StatusCode == 200 {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.tally.wrong++
		r.tally.example("a session that has ended was served at %s: %q", g.url, got.body)
	}
}

func (f *faultFigures) example(format string, args ...any) {
	if len(f.examples) < 5 {
		f.examples = append(f.examples, fmt.Sprintf(format, args...))
	}
}

// leave logs somebody out during the fault, and reports whether it was confirmed.
func (r *loadRun) leave(p loadUser) {
	got, err := send(r.client, "POST", r.here.url+"/logout", p.token, "")
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil || got.StatusCode != 303 && got.StatusCode != 503:
		r.tally.example("a logout: %v, %v", got.Response, err)
		r.tally.wrong++
	default:
		r.left = append(r.left, departure{p, got.StatusCode == 303})
	}
}

// recover waits until everything works: sessions unknown to a replica are served, and a logout is confirmed.
func (r *loadRun) recover(healed time.Time) {
	r.t.Helper()
	for i, g := range []*gateway{r.here, r.there} {
		eventually(r.t, "sessions to be read again", func() bool {
			got, err := send(r.client, "GET", g.url+"/account", r.strangers[i].token, "")
			return err == nil && isFor(got, r.strangers[i])
		})
	}
	eventually(r.t, "logouts to be confirmed again", func() bool {
		if len(r.spare) == 0 {
			r.t.Fatalf("none of %d logouts was confirmed", maxTries)
		}
		got, err := send(r.client, "POST", r.there.url+"/logout", r.spare[0].token, "")
		if err == nil && got.StatusCode != 303 {
			r.spare = r.spare[1:] // refused at this replica from now on
		}
		return err == nil && got.StatusCode == 303
	})
	r.tally.normal = time.Since(healed)
}

// settle looks at what has become of those who left: in the end nobody serves them.
func (r *loadRun) settle() {
	r.t.Helper()
	eventually(r.t, "revocations to be confirmed", func() bool { return r.here.metric(r.t, "gatehouse_revocations_pending") == "0" })
	deadline := time.Now().Add(2 * time.Second)
	for _, p := range r.left {
		back := false
		for _, g := range []*gateway{r.here, r.there} {
			for {
				got, err := send(r.client, "GET", g.url+"/account", p.token, "")
				if back = err != nil || got.StatusCode != 303; !back || time.Now().After(deadline) {
					break
				}
				time.Sleep(time.Millisecond)
			}
			if back {
				break
			}
		}
		if p.confirmed {
			r.tally.confirmed++
		}
		switch {
		case back && p.confirmed:
			r.tally.lost++
		case back:
			r.tally.wrong++
			r.tally.example("a logout that was queued has come to nothing")
		}
	}
}
