package e2e

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"gatehouse/config"
	"gatehouse/sample"
	"gatehouse/session"
)

// The bounds of X04: for a session that ends on the stream's own replica, and on another.
const endsHere, endsElsewhere = time.Second, 30 * time.Second

// tail is one open stream. ended gets the time at which its client saw the end.
type tail struct {
	what  string
	began time.Time
	ended chan time.Time
}

// over waits for the end.
func (s *tail) over(t *testing.T) time.Time {
	t.Helper()
	select {
	case at := <-s.ended:
		return at
	case <-time.After(endsElsewhere + 5*time.Second):
		t.Fatalf("%s does not end", s.what)
		return time.Time{}
	}
}

// open reports whether the stream still is.
func (s *tail) open() bool { return len(s.ended) == 0 }

func cookieOf(token string) http.Header { return http.Header{"Cookie": {"gatehouse=" + token}} }

// followStream reads an answer until it ends. A nil error is an answer the client takes for complete, which a cut one never is.
func followStream(t *testing.T, g *gateway, path, token string) *tail {
	t.Helper()
	s := &tail{what: path + " at " + g.url, began: time.Now(), ended: make(chan time.Time, 1)}
	body := openStream(t, g, path, cookieOf(token))
	go func() {
		if _, err := io.Copy(io.Discard, body); err == nil {
			t.Errorf("%s ended as if complete", s.what)
		}
		s.ended <- time.Now()
	}()
	return s
}

// talk opens a WebSocket; with a pause, something is sent and echoed each time it is over.
func talk(t *testing.T, g *gateway, token string, pause time.Duration) *tail {
	t.Helper()
	conn, _, err := websocket.Dial(t.Context(), "ws://"+g.addr+"/ws", &websocket.DialOptions{HTTPHeader: cookieOf(token)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.CloseNow() })
	s := &tail{what: "/ws at " + g.url, began: time.Now(), ended: make(chan time.Time, 1)}
	ctx := context.WithoutCancel(t.Context())
	go func() {
		for {
			if pause > 0 {
				time.Sleep(pause)
				_ = conn.Write(ctx, websocket.MessageText, []byte("still here"))
			}
			if _, _, err := conn.Read(ctx); err != nil {
				// The gateway does not parse frames, so there is no close frame: the connection ends.
				if code := websocket.CloseStatus(err); code != -1 {
					t.Errorf("%s: closed with %v", s.what, code)
				}
				s.ended <- time.Now()
				return
			}
		}
	}()
	return s
}

// unread opens a stream and leaves it there: its client does not read.
func unread(t *testing.T, g *gateway, path, token string) {
	t.Helper()
	openStream(t, g, path, cookieOf(token))
}

// everyKind opens every kind of stream.
func everyKind(t *testing.T, g *gateway, token string) []*tail {
	t.Helper()
	return []*tail{
		talk(t, g, token, 0), talk(t, g, token, 20*time.Millisecond), followStream(t, g, "/events", token),
		followStream(t, g, "/flood?pause=5ms", token), followStream(t, g, "/silent", token),
	}
}

// streamApp is the sample application, with a page that begins an answer and never goes on, and a download
// without end, as fast as it can or with pauses.
func streamApp(t *testing.T) string {
	app := sample.New(sample.Options{TrustHeaders: true, EventInterval: 50 * time.Millisecond})
	return startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/flood":
			pause, _ := time.ParseDuration(r.URL.Query().Get("pause"))
			for chunk := make([]byte, 64<<10); ; time.Sleep(pause) {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
		default:
			app.ServeHTTP(w, r)
		}
	}))
}

func streamConfig(upstream string, sp space) string {
	rules := "rules:\n  - path: /events\n  - path: /ws\n  - path: /flood\n  - path: /silent\n"
	return sections(strings.Replace(baseConfig(upstream, sp.section()), "rules:\n", rules, 1), "session", "max_per_user: 100")
}

// outside is a replica without HTTP, as another program on the same Redis is.
func outside(t *testing.T, sp space) (*session.Manager, *session.RedisStore) {
	t.Helper()
	store, err := session.Open(t.Context(), config.Redis{Addresses: []string{sp.server.Addr}, KeyPrefix: sp.prefix, Timeout: 3 * time.Second}, session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	m := session.NewManager(store, cfg.Session, cfg.Outage, session.Options{})
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m, store
}

func openStreams(t *testing.T, gateways ...*gateway) (n int) {
	t.Helper()
	for _, kind := range []string{"websocket", "sse", "download"} {
		n += metricSum(t, `gatehouse_open_streams{kind="`+kind+`"}`, gateways...)
	}
	return n
}

// TestStreamsEndEverywhere (X04): three replicas, all kinds of streams of one session on each, and whatever ends
// that session or takes its role ends them all, and nobody else's.
func TestStreamsEndEverywhere(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	cfg := streamConfig(streamApp(t), sp)
	gateways := []*gateway{start(t, cfg, withUsers()), start(t, cfg, withUsers()), start(t, cfg, withUsers())}
	manager, store := outside(t, sp)
	logout := func(t *testing.T, token string) {
		got, err := send(plainClient(t), "POST", gateways[0].url+"/logout", token, "")
		if err != nil || got.StatusCode != http.StatusSeeOther {
			t.Fatalf("logout: %v, %v", got.Response, err)
		}
	}
	for _, c := range []struct {
		name string
		end  func(t *testing.T, token string)
		all  bool // of the user's sessions
		here bool // the first gateway did it
	}{
		{"logout", logout, false, true},
		{"deleted by hand", func(t *testing.T, token string) { sp.server.Do(t, "DEL", sp.session(token)) }, false, false},
		{"runs out", func(t *testing.T, token string) { sp.server.Do(t, "PEXPIRE", sp.session(token), "50") }, false, false},
		{"another role", func(t *testing.T, token string) {
			key, _ := session.ParseToken(token)
			found, err := store.Find(t.Context(), key)
			if err != nil {
				t.Fatal(err)
			}
			next := found.Record.Clone()
			next.User.Role = "guest"
			if err := store.Replace(t.Context(), found.Record, next, time.Hour); err != nil {
				t.Fatal(err)
			}
		}, false, false},
		{"all of the user's revoked elsewhere", func(t *testing.T, _ string) {
			if _, err := manager.RevokeUser(t.Context(), "2"); err != nil {
				t.Fatal(err)
			}
		}, true, false},
	} {
		t.Run(c.name, func(t *testing.T) { // in turn: revoking all would end the others'
			mine, sibling := signIns(t, 1, userEmail, userPassword, gateways[1])[0], signIns(t, 1, userEmail, userPassword, gateways[2])[0]
			stranger := signIns(t, 1, adminEmail, adminPassword, gateways[0])[0]
			var ending [3][]*tail
			var others, stay []*tail
			for i, g := range gateways {
				ending[i] = everyKind(t, g, mine)
				unread(t, g, "/flood", mine)
				unread(t, g, "/events", mine)
				others = append(others, followStream(t, g, "/events", sibling))
				stay = append(stay, talk(t, g, stranger, 0), followStream(t, g, "/events", stranger))
			}
			if c.all {
				ending[2] = append(ending[2], others...)
			} else {
				stay = append(stay, others...)
			}
			c.end(t, mine)
			ended := time.Now()
			for i, streams := range ending {
				bound := endsElsewhere
				if c.here && i == 0 {
					bound = endsHere
				}
				var slowest time.Duration
				for _, s := range streams {
					took := s.over(t).Sub(ended)
					if slowest = max(slowest, took); took > bound {
						t.Errorf("%s ended %v after %s, want %v at most", s.what, took, c.name, bound)
					}
				}
				t.Logf("replica %d: the slowest of %d streams ended %v after it", i, len(streams), slowest.Round(10*time.Microsecond))
			}
			eventually(t, "the streams nobody reads to end", func() bool { return openStreams(t, gateways...) == len(stay) })
			for _, s := range stay {
				if !s.open() {
					t.Errorf("%s has ended, its session has not", s.what)
				}
			}
			logout(t, stranger)
			logout(t, sibling)
			eventually(t, "all streams to end", func() bool { return openStreams(t, gateways...) == 0 })
		})
	}
}

// TestStreamsAndTime: the absolute limit ends streams. The idle limit does so as well, whatever goes through them:
// a stream is no use of its session, a request is.
func TestStreamsAndTime(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	const limit = 3 * time.Second
	upstream := streamApp(t)
	base := streamConfig(upstream, sp)
	t.Run("absolute", func(t *testing.T) {
		t.Parallel()
		cfg := sections(base, "session", "idle: 3s\n  absolute: 3s")
		here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
		token := signIns(t, 1, userEmail, userPassword, here)[0]
		end := sp.record(t, token).ExpiresAt
		for _, s := range append(everyKind(t, here, token), everyKind(t, there, token)...) {
			if late := s.over(t).Sub(end); late < -100*time.Millisecond || late > endsHere {
				t.Errorf("%s ended %v after the absolute limit", s.what, late)
			}
		}
	})
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		cfg := sections(base, "session", "idle: 3s\n  absolute: 1h")
		here, there := start(t, cfg, withUsers()), start(t, cfg, withUsers())
		tokens := signIns(t, 2, userEmail, userPassword, here, there)
		left, used := tokens[0], tokens[1]
		streams := append(everyKind(t, here, left), everyKind(t, there, left)...)
		kept := talk(t, here, used, 20*time.Millisecond)
		c := plainClient(t)
		for began := time.Now(); time.Since(began) < 3*limit; time.Sleep(50 * time.Millisecond) {
			if got, err := send(c, "GET", there.url+"/account", used, ""); err != nil || got.StatusCode != 200 {
				t.Fatalf("a session in use: %v, %v", got.Response, err)
			}
		}
		if !kept.open() {
			t.Error("the stream of a session that requests keep alive has ended")
		}
		for _, s := range streams {
			// Opening them was the last use.
			if life := s.over(t).Sub(s.began); life < limit/2 || life > limit+2*endsHere {
				t.Errorf("%s lived for %v in a session whose idle limit is %v", s.what, life, limit)
			}
		}
	})
}

// TestStreamsEndAtOnce measures, from the answer to a logout on one replica, how long the session's stream on
// another lives on.
func TestStreamsEndAtOnce(t *testing.T) {
	t.Parallel()
	const rounds, batch = 1000, 200
	sp := ownSpace(t)
	cfg := streamConfig(streamApp(t), sp)
	a, b := start(t, cfg, withUsers()), start(t, cfg, withUsers())
	tokens := sp.copies(t, signIns(t, 1, userEmail, userPassword, a)[0], rounds)
	goroutines := func() int { n, _ := strconv.ParseFloat(b.metric(t, "go_goroutines"), 64); return int(n) }
	before := goroutines()
	c := plainClient(t)
	var took []time.Duration
	for from := 0; from < rounds; from += batch {
		streams := make([]*tail, batch)
		for i := range streams {
			streams[i] = followStream(t, b, "/silent", tokens[from+i])
		}
		for i, s := range streams {
			got, err := send(c, "POST", a.url+"/logout", tokens[from+i], "")
			answered := time.Now()
			if err != nil || got.StatusCode != http.StatusSeeOther {
				t.Fatalf("logout: %v, %v", got.Response, err)
			}
			after := s.over(t).Sub(answered)
			if took = append(took, after); after > endsElsewhere {
				t.Errorf("%s ended %v after the logout elsewhere", s.what, after)
			}
		}
	}
	slices.Sort(took)
	t.Logf("logout answered by one replica → stream ended at the other, %d times: p50 %v, p99 %v, max %v", rounds,
		took[rounds/2], took[rounds*99/100], took[rounds-1])
	eventually(t, "nothing to be left of the streams", func() bool { return openStreams(t, b) == 0 && goroutines() < before+batch/4 })
}
