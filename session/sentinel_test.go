package session_test

import (
	"bytes"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// bySentinel is a replica that finds its Redis by these sentinels.
func bySentinel(addresses []string, change ...func(*config.Redis)) func(*settings) {
	return func(s *settings) {
		s.redis.Addresses = nil
		s.redis.Sentinel = config.RedisSentinel{Master: testredis.MasterSet, Addresses: addresses}
		s.redis.Timeout = time.Second
		for _, c := range change {
			c(&s.redis)
		}
	}
}

// works waits until somebody can log in.
func works(t *testing.T, g *gateway) {
	t.Helper()
	awaitWithin(t, "a login", 30*time.Second, func() bool {
		_, _, err := g.tryLogin("works")
		return err == nil
	})
}

// The master dies, and the gateway goes on with the new one: by itself, with the sessions that had reached it, and
// with nothing of what it had in memory taken for true.
func TestSentinelMasterDies(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t)
	g := newGateway(t, "", bySentinel(sentinels.Addresses()))
	kept, _ := g.login(t, "kept")
	ended, rec := g.login(t, "ended")
	g.finds(t, kept)
	g.finds(t, ended)
	sentinels.Await()
	old := sentinels.Master()
	old.Kill()
	next := sentinels.AwaitOther(old)
	works(t, g)
	g.finds(t, kept)
	g.finds(t, ended)
	warm(t, g, ended)
	next.Do(t, "DEL", name(rec))
	await(t, "the new master's word to come", func() bool {
		_, err := g.Find(t.Context(), ended)
		return errors.Is(err, session.ErrNotFound)
	})
}

// After a failover the old master lives on as a replica, and answers: nobody must be served from it, or from what it said.
func TestSentinelOldMasterLivesOn(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t)
	a, b := newGateway(t, "", bySentinel(sentinels.Addresses())), newGateway(t, "", bySentinel(sentinels.Addresses()))
	token, rec := a.login(t, "u")
	other, _ := a.login(t, "u")
	a.finds(t, token)
	a.finds(t, other)
	sentinels.Await()
	old := sentinels.Master()
	sentinels.Watchers[0].Do(t, "SENTINEL", "FAILOVER", testredis.MasterSet)
	next := sentinels.AwaitOther(old)
	for _, g := range []*gateway{a, b} {
		asked := commands(t, next, "evalsha")
		await(t, "the new master to be asked", func() bool {
			g.tryLogin("works")
			return commands(t, next, "evalsha") > asked
		})
	}
	if err := b.Revoke(t.Context(), rec.Key(), "u"); err != nil {
		t.Fatal(err)
	}
	await(t, "the logout to be heard of", func() bool {
		_, err := a.Find(t.Context(), token)
		return errors.Is(err, session.ErrNotFound)
	})
	a.finds(t, other)
}

// Which sentinels are there at the start, and which is asked first, is no matter as long as one is.
func TestSentinelsDownAtTheStart(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		down int
		halt bool // hung, instead of gone
	}{{"one", 1, false}, {"two", 2, false}, {"two hang", 2, true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			sentinels := testredis.StartSentinel(t)
			for _, w := range sentinels.Watchers[:c.down] {
				if c.halt {
					w.Stop()
				} else {
					w.Kill()
				}
			}
			g := newGateway(t, "", bySentinel(sentinels.Addresses()))
			token, _ := g.login(t, "u")
			g.finds(t, token)
			for _, w := range sentinels.Watchers[:c.down] {
				if c.halt {
					w.Cont()
				}
			}
		})
	}
}

// With all of them down the gateway starts, says so, and connects when they are back. Once connected, it does without them.
func TestAllSentinelsDown(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t)
	for _, w := range sentinels.Watchers {
		w.Kill()
	}
	g := newGateway(t, "", bySentinel(sentinels.Addresses()), func(s *settings) { s.down = true })
	if _, _, err := g.tryLogin("u"); !errors.Is(err, session.ErrUnavailable) {
		t.Errorf("login: %v", err)
	}
	if text := g.log.String(); strings.Count(text, "no connection to Redis") != 1 || !strings.Contains(text, sentinels.Addresses()[2]) {
		t.Errorf("the log does not say, once, which sentinels were asked: %s", text)
	}
	for _, w := range sentinels.Watchers {
		w.Restart()
	}
	works(t, g)
	token, _ := g.login(t, "u")
	for _, w := range sentinels.Watchers {
		w.Kill()
	}
	for range 3 {
		g.finds(t, token)
		g.login(t, "v")
	}
	for _, w := range sentinels.Watchers {
		w.Restart()
	}
	sentinels.Await()
	old := sentinels.Master()
	old.Kill()
	sentinels.AwaitOther(old)
	works(t, g)
}

// Sentinels have users of their own. A password that was wrong in its file works when the file is corrected.
func TestSentinelCredentials(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t, testredis.Password("redis-secret"), testredis.SentinelPassword("sentinel-secret"))
	for _, w := range sentinels.Watchers {
		w.Do(t, "ACL", "SETUSER", "watcher", "on", ">sentinel-secret", "allchannels", "+@all")
	}
	write := func(text string) string {
		file := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	for _, user := range []string{"", "watcher"} {
		wrong := write("wrong\n")
		g := newGateway(t, "", bySentinel(sentinels.Addresses(), func(r *config.Redis) {
			r.PasswordFile = write("redis-secret\n")
			r.Sentinel.Username, r.Sentinel.PasswordFile = user, wrong
		}), func(s *settings) { s.down = true })
		await(t, "the log to say what is wrong", func() bool {
			text := g.log.String()
			return strings.Contains(text, "WRONGPASS") && strings.Contains(text, "redis.sentinel.username and password_file")
		})
		if text := g.log.String(); strings.Contains(text, "wrong\"") || strings.Contains(text, "sentinel-secret") || strings.Contains(text, "redis-secret") {
			t.Errorf("a password is in the log: %s", text)
		}
		if err := os.WriteFile(wrong, []byte("sentinel-secret"), 0o600); err != nil {
			t.Fatal(err)
		}
		works(t, g)
	}
}

// Redis's password is for Redis: a sentinel, or who answers in its place, never gets to see it.
func TestSentinelIsNotToldRedisPassword(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	heard := make(chan []byte, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		text := make([]byte, 4096)
		n, _ := conn.Read(text)
		heard <- text[:n]
	}()
	newGateway(t, "", bySentinel([]string{l.Addr().String()}, func(r *config.Redis) {
		r.Username, r.Password = "gatehouse", "redis-secret"
	}), func(s *settings) { s.down = true })
	text := <-heard
	if !bytes.Contains(text, []byte("HELLO")) || bytes.Contains(text, []byte("AUTH")) || bytes.Contains(text, []byte("redis-secret")) {
		t.Errorf("the sentinel was told %q", text)
	}
}

// What is configured wrongly is named, with what to do.
func TestSentinelMistakes(t *testing.T) {
	t.Parallel()
	sentinels := testredis.StartSentinel(t)
	for _, c := range []struct {
		name   string
		change func(*config.Redis)
		want   string
	}{
		{"another master", func(r *config.Redis) { r.Sentinel.Master = "other" }, "set redis.sentinel.master"},
		{"Redis instead of a sentinel", func(r *config.Redis) { r.Sentinel.Addresses = []string{sentinels.Nodes[0].Addr} }, "what answers is no sentinel"},
		{"no password file", func(r *config.Redis) { r.Sentinel.PasswordFile = "/does/not/exist" }, "redis.sentinel.password_file: open /does/not/exist"},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := newGateway(t, "", bySentinel(sentinels.Addresses(), c.change), func(s *settings) { s.down = true })
			await(t, "the log to say "+c.want, func() bool { return strings.Contains(g.log.String(), c.want) })
		})
	}
}
