package session_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// refusing stands before a Redis and answers, in its place, commands that begin as one of these: what old servers and managed
// services do. It gives the address.
func refusing(t *testing.T, redis string, answers map[string]string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() { l.Close(); running.Wait() })
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				relay(conn, redis, answers)
			})
		}
	})
	return l.Addr().String()
}

// relay passes commands on one after the other, waiting for each one's answer, so that its own stand in their order.
func relay(conn net.Conn, redis string, answers map[string]string) {
	to, err := net.Dial("tcp", redis)
	if err != nil {
		return
	}
	defer to.Close()
	commands, replies := newReader(conn), newReader(to)
	for {
		raw, words, err := commands.next()
		if err != nil {
			return
		}
		line := strings.ToUpper(strings.Join(words, " "))
		answered := false
		for command, answer := range answers {
			if answered = strings.HasPrefix(line, command); answered {
				io.WriteString(conn, answer+"\r\n")
				break
			}
		}
		if answered {
			continue
		}
		if _, err := to.Write(raw); err != nil {
			return
		}
		answer, _, err := replies.next()
		if err != nil {
			return
		}
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// reader reads messages of Redis's protocol, and keeps their bytes.
type reader struct {
	from io.Reader
	seen bytes.Buffer
}

func newReader(from io.Reader) *reader { return &reader{from: from} }

func (r *reader) next() (raw []byte, words []string, err error) {
	r.seen.Reset()
	err = r.message(&words)
	return bytes.Clone(r.seen.Bytes()), words, err
}

func (r *reader) message(words *[]string) error {
	line, err := r.line()
	if err != nil {
		return err
	}
	var n int
	fmt.Sscan(line[1:], &n)
	switch line[0] {
	case '*', '>', '~':
	case '%':
		n *= 2
	case '$', '=', '!':
		if n < 0 {
			return nil
		}
		text := make([]byte, n+2)
		if _, err := io.ReadFull(io.TeeReader(r.from, &r.seen), text); err != nil {
			return err
		}
		*words = append(*words, string(text[:n]))
		return nil
	default:
		return nil
	}
	for range n {
		if err := r.message(words); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) line() (string, error) {
	from := r.seen.Len()
	for one := make([]byte, 1); ; {
		if _, err := io.ReadFull(r.from, one); err != nil {
			return "", err
		}
		r.seen.Write(one)
		if line := r.seen.Bytes()[from:]; bytes.HasSuffix(line, []byte("\r\n")) {
			return string(line), nil
		}
	}
}

// A Redis that cannot tell replicas what changes is noticed at the start, told once, and asked each time: sessions work, and
// a logout on another replica holds at once.
func TestWithoutTracking(t *testing.T) {
	t.Parallel()
	const gone = "-ERR unknown command 'HELLO', with args beginning with: '3' "
	for _, c := range []struct {
		name    string
		flags   []string
		acl     []string
		answers map[string]string
	}{
		{name: "no CLIENT", flags: []string{"--rename-command", "CLIENT", ""}},
		{name: "no right to CLIENT TRACKING", acl: []string{"-client|tracking"}},
		{name: "no right to CLIENT CACHING", acl: []string{"-client|caching"}},
		{name: "a service without CLIENT TRACKING", answers: map[string]string{"CLIENT TRACKING": "-ERR unknown subcommand 'TRACKING'. Try CLIENT HELP."}},
		{name: "a service without CLIENT CACHING", answers: map[string]string{"CLIENT CACHING": "-ERR unknown subcommand 'CACHING'. Try CLIENT HELP."}},
		{name: "no HELLO", answers: map[string]string{"HELLO": gone}},
		{name: "no HELLO, no CLIENT", answers: map[string]string{"HELLO": gone, "CLIENT": "-ERR unknown command 'CLIENT'"}},
		{name: "the old protocol alone", answers: map[string]string{"HELLO 3": "-NOPROTO unsupported protocol version"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t, testredis.Flags(c.flags...))
			addr := server.Addr
			if c.answers != nil {
				addr = refusing(t, addr, c.answers)
			}
			// This is not about time, and each connection of a Redis without HELLO begins with several refusals.
			as := func(r *config.Redis) { r.Timeout = 10 * time.Second }
			if c.acl != nil {
				allow(t, server, "gatehouse", append([]string{"~*", "&*", "+@all"}, c.acl...))
				as = func(r *config.Redis) { r.Timeout, r.Username, r.Password = 10*time.Second, "gatehouse", "secret" }
			}
			a := newGateway(t, addr, func(s *settings) { as(&s.redis) })
			b := newGateway(t, addr, func(s *settings) { as(&s.redis) })
			for range 20 {
				token, rec := a.login(t, "u")
				for _, g := range []*gateway{a, a, b, b} {
					if s := g.finds(t, token); s.Source != session.FromStore {
						t.Fatalf("found in %s", s.Source)
					}
				}
				if err := b.Revoke(t.Context(), rec.Key(), "u"); err != nil {
					t.Fatal(err)
				}
				a.refuses(t, token, session.ErrNotFound)
			}
			if n := strings.Count(a.log.String(), "client tracking"); n != 1 || a.metric("gatehouse_session_cache_enabled") != 0 {
				t.Errorf("told %d times, metric %d: %s", n, a.metric("gatehouse_session_cache_enabled"), a.log.String())
			}
		})
	}
}

// Redis may lose tracking while the gateway runs, and get it back: by a failover to another version, or new rights.
func TestTrackingGoesAndComes(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	allow(t, server, "gatehouse", []string{"~*", "&*", "+@all"})
	g := newGateway(t, server.Addr, func(s *settings) { s.redis.Username, s.redis.Password = "gatehouse", "secret" })
	token, _ := g.login(t, "u")
	server.Do(t, "ACL", "SETUSER", "gatehouse", "-client|tracking")
	server.Do(t, "CLIENT", "KILL", "USER", "gatehouse")
	await(t, "sessions to be found without the cache", func() bool {
		s, err := g.Find(t.Context(), token)
		return err == nil && s.Source == session.FromStore && g.metric("gatehouse_session_cache_enabled") == 0
	})
	g.login(t, "v")
	if n := strings.Count(g.log.String(), "client tracking"); n != 1 {
		t.Errorf("told %d times: %s", n, g.log.String())
	}
}

// The right to CLIENT CACHING is lost while the gateway runs: on the server it is connected to, or with a connection that the
// library makes by itself, as after a failover to a node whose list of users is another. The library notices neither, and
// what it read from then on, Redis would call back never.
func TestCachingIsLost(t *testing.T) {
	t.Parallel()
	for name, reconnects := range map[string]bool{"on a connection that stays": false, "with a new connection": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t)
			allow(t, server, "gatehouse", []string{"~*", "&*", "+@all"})
			other := newGateway(t, server.Addr)
			g := newGateway(t, server.Addr, func(s *settings) { s.redis.Username, s.redis.Password = "gatehouse", "secret" })
			kept, keptRec := other.login(t, "kept")
			token, rec := other.login(t, "read after it")
			warm(t, g, kept)
			server.Do(t, "ACL", "SETUSER", "gatehouse", "-client|caching")
			if reconnects {
				server.Do(t, "CLIENT", "KILL", "USER", "gatehouse")
				await(t, "a new connection", func() bool { _, err := g.Find(t.Context(), token); return err == nil })
			}
			for range 20 {
				g.finds(t, token)
			}
			for _, r := range []*session.Record{rec, keptRec} {
				if err := other.Revoke(t.Context(), r.Key(), r.User.ID); err != nil {
					t.Fatal(err)
				}
			}
			await(t, "the revocations to be seen", func() bool {
				_, one := g.Find(t.Context(), token)
				_, two := g.Find(t.Context(), kept)
				return errors.Is(one, session.ErrNotFound) && errors.Is(two, session.ErrNotFound)
			})
			await(t, "a client without cache to take over", func() bool { return g.metric("gatehouse_session_cache_enabled") == 0 })
			again, _ := other.login(t, "again")
			for range 3 {
				if s := g.finds(t, again); s.Source != session.FromStore {
					t.Errorf("found in %s", s.Source)
				}
			}
			if n := strings.Count(g.log.String(), "client tracking"); n != 1 {
				t.Errorf("told %d times: %s", n, g.log.String())
			}
		})
	}
}

// A connection the library makes by itself is trusted again once Redis has said that it takes CLIENT CACHING there.
func TestCacheComesBackWithTheConnection(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	tokens := make([]string, 16) // so many that some are read over each of the client's connections
	for i := range tokens {
		tokens[i], _ = g.login(t, fmt.Sprint(i))
		warm(t, g, tokens[i])
	}
	for range 3 {
		server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		await(t, "the connections to be made", func() bool {
			for _, token := range tokens {
				if _, err := g.Find(t.Context(), token); err != nil {
					return false
				}
			}
			return true
		})
		for _, token := range tokens {
			warm(t, g, token)
		}
	}
	if strings.Contains(g.log.String(), "client tracking") || g.metric("gatehouse_session_cache_enabled") != 1 {
		t.Errorf("the cache was given up: %s", g.log.String())
	}
}

// A command after CLIENT CACHING YES has its keys tracked, and a script has all of its keys tracked for each read in it:
// 2,000 dead entries of an index took Redis 0.7 s instead of 10 ms, when they were cleared away right after we had asked
// whether Redis tracks.
func TestAskingAboutTrackingTracksNothingElse(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	g := newGateway(t, server.Addr)
	for asked := 0; asked < 3; {
		for i := range 16 { // some over each of the client's connections
			g.login(t, fmt.Sprint(i))
		}
		stats := server.Do(t, "INFO", "commandstats")
		text, err := stats.ToString()
		if err != nil {
			t.Fatal(err)
		}
		_, calls, _ := strings.Cut(text, "cmdstat_client|caching:calls=")
		if _, err := fmt.Sscanf(calls, "%d", &asked); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		asked /= 8 // each of four connections twice
	}
	stats := server.Do(t, "INFO", "stats")
	text, err := stats.ToString()
	if err != nil || !strings.Contains(text, "\r\ntracking_total_keys:0\r\n") {
		t.Errorf("Redis tracks keys nobody has read: %v, %s", err, text)
	}
}
