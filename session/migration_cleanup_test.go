package session_test

import (
	"context"
	"crypto/md5"
	"flag"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"

	"github.com/redis/rueidis"
)

// leaderKey is the lock of the replica that cleans up.
const leaderKey = "cleanup_leader"

// rows inserts n rows of the application's, spread over so many of its users, which end so many seconds from now.
func (w *world) rows(prefix string, n, users, seconds int) {
	w.t.Helper()
	w.exec(fmt.Sprintf(`INSERT INTO sessions (id, user_id, expires_at)
		SELECT '%s-' || md5('%s' || n), n %% %d + 1, now() + interval '%d seconds' FROM generate_series(1, %d) n`, prefix, prefix, users, seconds, n))
}

func (w *world) count(where string) int {
	w.t.Helper()
	n, err := strconv.Atoi(w.value("SELECT count(*) FROM sessions WHERE " + where))
	if err != nil {
		w.t.Fatal(err)
	}
	return n
}

// watchDeletes has the database note how many rows each statement deletes.
func (w *world) watchDeletes() {
	w.t.Helper()
	w.exec(`CREATE TABLE deletes (n bigint);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN INSERT INTO deletes SELECT count(*) FROM gone; RETURN NULL; END';
		CREATE TRIGGER note AFTER DELETE ON sessions REFERENCING OLD TABLE AS gone FOR EACH STATEMENT EXECUTE FUNCTION note()`)
}

// leader is which of the replicas holds the lock, as it is written there; "" for none.
func (w *world) leader() string {
	w.t.Helper()
	held, _ := ptr(w.redis.Do(w.t, "GET", leaderKey)).ToString()
	return held
}

// cleaned is how many replicas have deleted rows.
func cleaned(replicas ...*migrating) (n int) {
	for _, r := range replicas {
		if strings.Contains(r.log.String(), "have been deleted") {
			n++
		}
	}
	return n
}

// tries waits until the replicas have asked for the lock so many more times.
func (w *world) tries(n int) {
	w.t.Helper()
	before := commands(w.t, w.redis, "set")
	await(w.t, "the replicas to ask for the lock", func() bool { return commands(w.t, w.redis, "set") >= before+n })
}

const oftenEnough = 20 * time.Millisecond

// TestCleanupHasOneLeader: one of two replicas deletes what has expired, some rows at a time, and nothing else.
func TestCleanupHasOneLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.watchDeletes()
	w.rows("dead", 95, 50, -60)
	w.rows("live", 30, 50, 3600)
	w.rows("moved", 10, 50, 3600)
	w.rows("moved-dead", 10, 50, -60)
	w.exec("UPDATE sessions SET migrated_at = now() WHERE id LIKE 'moved%'")
	a, b := w.replica(config.StatePrimary), w.replica(config.StatePrimary)
	for _, r := range []*migrating{a, b} {
		r.store.StartCleanup(oftenEnough, 10)
	}
	await(t, "the expired rows to be deleted", func() bool { return w.count("expires_at < now()") == 0 })
	first := w.leader()
	w.rows("dead later", 5, 50, -60)
	await(t, "the rows that expired later", func() bool { return w.count("true") == 40 })
	if n := w.count("id LIKE 'live%'"); n != 30 {
		t.Errorf("%d of 30 live rows are left", n)
	}
	if n := w.count("id LIKE 'moved-%' AND expires_at > now()"); n != 10 {
		t.Errorf("%d of 10 rows that have moved and not expired are left", n)
	}
	if largest := w.value("SELECT max(n) FROM deletes"); largest != "10" {
		t.Errorf("%s rows were deleted at once, want batches of 10", largest)
	}
	await(t, "the leader to say what it has done", func() bool { return cleaned(a, b) > 0 })
	if n := cleaned(a, b); n != 1 || first == "" || w.leader() != first {
		t.Errorf("%d replicas have deleted rows; the leader was %q, then %q", n, first, w.leader())
	}
	left, _ := ptr(w.redis.Do(t, "PTTL", leaderKey)).AsInt64()
	if left <= 0 || left > 30_000 {
		t.Errorf("the lock ends in %d ms: a leader that dies would be replaced then", left)
	}
}

// TestCleanupIsOffByDefault: the rows are the application's.
func TestCleanupIsOffByDefault(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.rows("dead", 20, 50, -60)
	r := w.replica(config.StatePrimary)
	section := config.Default().Session.Database
	r.store.StartCleanup(section.CleanupEvery, section.CleanupBatch)
	before := time.Now()
	for _, state := range []string{config.StateDrain, config.StatePrimary} {
		r.set(state)
	}
	await(t, "many times the pause of the other tests", func() bool { return time.Since(before) > 20*oftenEnough })
	if n := w.count("true"); n != 20 || w.leader() != "" {
		t.Errorf("%d of 20 rows are left, and %q leads", n, w.leader())
	}
}

// TestCleanupOutlivesItsLeader: when the leader dies another replica takes over, and not before its lock has ended.
func TestCleanupOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.replica(config.StatePrimary)
	first.store.StartCleanup(oftenEnough, 10)
	await(t, "the first to lead", func() bool { return w.leader() != "" })
	dead := w.leader()
	first.store.Close()
	second := w.replica(config.StatePrimary)
	second.store.StartCleanup(oftenEnough, 10)
	w.rows("dead", 25, 50, -60)
	w.tries(5)
	if n := w.count("true"); n != 25 || w.leader() != dead {
		t.Fatalf("%d of 25 rows are left, and the lock of the leader that died is %v", n, w.leader() == dead)
	}
	w.redis.Do(t, "PEXPIRE", leaderKey, "1")
	await(t, "the second to take over", func() bool { return w.count("true") == 0 })
	if now := w.leader(); now == "" || now == dead || cleaned(second) != 0 && cleaned(first) != 0 {
		t.Errorf("after %q %q leads", dead, now)
	}
}

// TestCleanupNeedsRedis: without the lock nobody deletes, not even who was the leader.
func TestCleanupNeedsRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.redis = testredis.Start(t, testredis.Persistent())
	quickly := func(c *config.Config) { c.Redis.Timeout = 250 * time.Millisecond }
	replicas := []*migrating{w.replica(config.StatePrimary, quickly), w.replica(config.StatePrimary, quickly)}
	for _, r := range replicas {
		r.store.StartCleanup(oftenEnough, 10)
	}
	await(t, "a leader", func() bool { return w.leader() != "" })
	for name, outage := range map[string]struct{ begin, end func() }{
		"refused": {w.redis.Kill, w.redis.Restart}, "hung": {w.redis.Stop, w.redis.Cont},
	} {
		outage.begin()
		await(t, "both replicas to notice", func() bool { return replicas[0].redis.Away() && replicas[1].redis.Away() })
		w.rows("dead", 15, 50, -60)
		said := func(r *migrating) int { return strings.Count(r.log.String(), "could not be deleted") }
		before := []int{said(replicas[0]), said(replicas[1])}
		await(t, "both to have tried in vain", func() bool {
			return said(replicas[0]) > before[0]+1 && said(replicas[1]) > before[1]+1
		})
		if n := w.count("true"); n != 15 {
			t.Errorf("%s: %d of 15 rows are left while nobody can hold the lock", name, n)
		}
		outage.end()
		await(t, "the rows to be deleted after all", func() bool { return w.count("true") == 0 })
	}
}

// crowd is how many hundred sessions come and go in TestNothingIsLeftBehind. `make stress` has 100,000.
var crowd = flag.Int("crowd", 200, "how many hundred sessions come and go")

// The crowd, each hundred of it: rows of the application's that expire, and users.
const (
	crowdExpired = 83
	crowdUsers   = 2
)

// More of the crowd: rows that come over, and for each user so many sessions in Redis.
const (
	crowdImported = 800
	crowdPerUser  = 8
	crowdKept     = 2 // by those who are at the limit
)

// TestNothingIsLeftBehind: thousands of sessions come, and go in every way there is. What Redis holds then has an end, but
// for two counters; and the table is empty.
func TestNothingIsLeftBehind(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(fmt.Sprintf("INSERT INTO users (email, name) SELECT 'user' || n || '@example.com', 'User ' || n FROM generate_series(51, %d) n", max(crowdUsers**crowd, crowdImported)+1))
	w.rows("expired", crowdExpired**crowd, crowdUsers**crowd, -60)
	w.rows("app", crowdImported, max(crowdUsers**crowd, crowdImported), 86400)
	legacy := w.replica(config.StateShadow)
	r := w.replica(config.StatePrimary, func(c *config.Config) { c.Database.Timeout = 3 * time.Second })
	begun := time.Now()
	lap := func(what string) {
		t.Logf("%-34s %6d ms", what, time.Since(begun).Milliseconds())
		begun = time.Now()
	}
	r.store.StartCleanup(oftenEnough, 5000)
	w.comeAndGoInRedis(r)
	lap("those in Redis came and went")
	await(t, "the expired rows to be deleted", func() bool { return w.count("expires_at < now()") == 0 })
	lap("rows expired")
	born := w.bornInTable(legacy, 100)
	w.comeOver(r, born)
	lap("900 came over and went")
	w.holdsNothingButWhatEnds()
	w.tableHoldsNothing(r)
	lap("looked at")
}

// eachUser calls f for every user, some at a time.
func eachUser(users int, f func(user int)) {
	var all sync.WaitGroup
	const lanes = 32
	for lane := range lanes {
		all.Go(func() {
			for user := lane + 1; user <= users; user += lanes {
				f(user)
			}
		})
	}
	all.Wait()
}

// comeAndGoInRedis: each user logs in 8 times. Of every four users the sessions of one expire; of one most are evicted
// and the last ones logged out of; of one all are revoked at once; of one each is renewed and logged out of.
func (w *world) comeAndGoInRedis(r *migrating) {
	ctx := context.Background()
	began, err := r.store.Epoch(ctx)
	if err != nil {
		w.t.Fatal(err)
	}
	eachUser(crowdUsers**crowd, func(n int) {
		user := strconv.Itoa(n)
		opts := session.CreateOptions{Began: began, TTL: hour}
		switch n % 4 {
		case 0:
			opts.TTL = time.Second
		case 1:
			opts.MaxPerUser = crowdKept
		}
		var live []*session.Record
		for range crowdPerUser {
			rec, _ := sessiontest.Record(user)
			if _, err := r.store.Create(ctx, rec, opts); err != nil {
				w.t.Errorf("a login of user %s: %v", user, err)
				return
			}
			live = append(live, rec)
		}
		w.leave(r, n, live)
	})
}

func (w *world) leave(r *migrating, user int, live []*session.Record) {
	ctx, id := context.Background(), strconv.Itoa(user)
	var err error
	switch user % 4 {
	case 1:
		live = live[crowdPerUser-crowdKept:]
	case 2:
		_, err = r.redis.RevokeUser(ctx, id)
		live = nil
	case 3:
		if found, ferr := r.redis.Find(ctx, live[0].Key()); ferr == nil {
			err = r.store.Replace(ctx, found.Record, found.Record.Clone(), hour)
		} else {
			err = ferr
		}
	default:
		live = nil
	}
	for _, rec := range live {
		if err == nil {
			_, err = r.store.Revoke(ctx, rec.Key(), id)
		}
	}
	if err != nil {
		w.t.Errorf("user %d leaves: %v", user, err)
	}
}

// bornInTable logs people in into the table, with copies in Redis.
func (w *world) bornInTable(r *migrating, n int) []*browser {
	born := make([]*browser, n)
	eachUser(n, func(user int) {
		token, err := r.tryLogin(strconv.Itoa(user))
		if err != nil {
			w.t.Errorf("a login into the table: %v", err)
		}
		born[user-1] = &browser{user: strconv.Itoa(user), token: token}
	})
	return born
}

// comeOver brings all rows over, and then they go: half of the users have all their sessions revoked, the others come
// with their cookies and log out.
func (w *world) comeOver(r *migrating, born []*browser) {
	w.t.Helper()
	var p session.Progress
	err := r.store.Backfill(context.Background(), &p, 500, func(context.Context) error { return nil }, func(session.Progress) {})
	if err != nil || p.Imported != int64(crowdImported+len(born)) {
		w.t.Fatalf("%+v, %v", p, err)
	}
	tokens := map[int]string{}
	for n := 1; n <= crowdImported; n++ {
		user := n%max(crowdUsers**crowd, crowdImported) + 1
		tokens[user] = fmt.Sprintf("app-%x", md5.Sum(fmt.Appendf(nil, "app%d", n)))
	}
	eachUser(crowdImported+1, func(n int) {
		if n%2 == 0 {
			if _, err := r.RevokeUser(context.Background(), strconv.Itoa(n)); err != nil {
				w.t.Errorf("revoking all sessions of user %d: %v", n, err)
			}
			return
		}
		var who []*browser
		if tokens[n] != "" {
			who = append(who, &browser{user: strconv.Itoa(n), app: tokens[n]})
		}
		if n <= len(born) {
			who = append(who, born[n-1])
		}
		if n%4 == 1 && tokens[n] != "" {
			who[0] = w.loginAnew(r, who[0])
		}
		for _, b := range who {
			s, err := b.visit(r)
			if err == nil {
				err = r.Revoke(context.Background(), s.Key(), s.User.ID)
			}
			if err != nil {
				w.t.Errorf("logout of %s: %v", b.user, err)
			}
		}
	})
}

// loginAnew: somebody logs in who has only the application's cookie, of a session that has come over without them.
func (w *world) loginAnew(r *migrating, b *browser) *browser {
	w.t.Helper()
	app, _ := r.cookie.Read(http.Header{"Cookie": {"sid=" + b.app}})
	began, err := r.Begin(context.Background())
	if err != nil {
		w.t.Error(err)
	}
	token, _, err := r.Create(context.Background(), session.Login{User: session.User{ID: b.user}, Backend: "database", Began: began, PreviousApp: app})
	if err != nil {
		w.t.Errorf("user %s logs in anew: %v", b.user, err)
	}
	return &browser{user: b.user, token: token}
}

// keeps says how long Redis may keep what is left of sessions that have ended, by the kind of key; 0: it has no end, and
// there is one of it.
var keeps = map[string]time.Duration{
	"login_seq":          0,                   // counts revocations of all sessions of a user
	"migration_backfill": 0,                   // how far the last backfill came
	"user_gen":           24 * time.Hour,      // for logins that began before the revocation
	"app_session":        30 * 24 * time.Hour, // leads from a row to its session, until that would have ended anyway
	"migration_counts":   2 * time.Hour,       // what was counted in a minute
	"cleanup_leader":     30 * time.Second,
}

// holdsNothingButWhatEnds looks at every key in Redis.
func (w *world) holdsNothingButWhatEnds() {
	w.t.Helper()
	kinds := map[string]int{}
	await(w.t, "the last sessions to end", func() bool {
		clear(kinds)
		for name := range w.keys() {
			kinds[kindOf(name)]++
		}
		return kinds["session"]+kinds["user_sessions"] == 0
	})
	w.t.Logf("left in Redis: %v", kinds)
	for name, ttl := range w.keys() {
		keep, known := keeps[kindOf(name)]
		switch {
		case !known:
			w.t.Errorf("%s is left behind", name)
		case keep == 0 && name != kindOf(name), keep > 0 && (ttl <= 0 || ttl > keep):
			w.t.Errorf("%s ends in %v", name, ttl)
		}
	}
}

// keys gives all keys of Redis and when they end.
func (w *world) keys() map[string]time.Duration {
	w.t.Helper()
	c := w.redis.Client(w.t)
	defer c.Close()
	all := map[string]time.Duration{}
	for cursor := uint64(0); ; {
		entry, err := c.Do(context.Background(), c.B().Scan().Cursor(cursor).Count(5000).Build()).AsScanEntry()
		if err != nil {
			w.t.Fatal(err)
		}
		var cmds rueidis.Commands
		for _, name := range entry.Elements {
			cmds = append(cmds, c.B().Pttl().Key(name).Build())
		}
		for i, reply := range c.DoMulti(context.Background(), cmds...) {
			ms, err := reply.AsInt64()
			if err != nil {
				w.t.Fatal(err)
			}
			if ms != -2 { // it has ended meanwhile
				all[entry.Elements[i]] = time.Duration(ms) * time.Millisecond
			}
		}
		if cursor = entry.Cursor; cursor == 0 {
			return all
		}
	}
}

func kindOf(name string) string {
	kind, _, _ := strings.Cut(name, ":")
	return kind
}

// tableHoldsNothing: what is left in the table is marked, and Sweep takes that away.
func (w *world) tableHoldsNothing(r *migrating) {
	w.t.Helper()
	counts, err := r.store.CountTable(context.Background())
	if err != nil || counts.Live != 0 || counts.Expired != 0 || counts.Moved == 0 {
		w.t.Errorf("%+v, %v", counts, err)
	}
	taken, err := r.table.Sweep(context.Background(), 500, func(row session.Row) error { return r.store.Settle(context.Background(), row) }, nil, func(_, _ int64) {})
	if err != nil || taken != counts.Moved || w.count("true") != 0 {
		w.t.Errorf("Sweep has taken %d of %d rows, %v; %d are left", taken, counts.Moved, err, w.count("true"))
	}
	if n := w.value("SELECT count(*) FROM gatehouse_epochs"); n == "0" || len(n) > 4 {
		w.t.Errorf("%s rows in gatehouse_epochs, want one for each user at most", n)
	}
}
