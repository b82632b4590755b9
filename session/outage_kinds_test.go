package session_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

func outageReplica(t *testing.T) {
	master, server := testredis.Start(t), testredis.Start(t)
	g := newGateway(t, server.Addr, quick)
	token, rec := g.login(t, "u")
	host, port, _ := net.SplitHostPort(master.Addr)
	// The replica takes the master's data over, so the session must be there.
	server.Do(t, "REPLICAOF", "NO", "ONE")
	master.Do(t, "SET", name(rec), raw(t, server, rec))
	server.Do(t, "REPLICAOF", host, port)
	await(t, "the replica to follow", func() bool {
		text, _ := ptr(server.Do(t, "INFO", "replication")).ToString()
		return strings.Contains(text, "master_link_status:up")
	})
	await(t, "reads to work", func() bool { s, err := g.Find(t.Context(), token); return err == nil && s.Source != session.FromKnown })
	for range 10 {
		_, _, err := g.tryLogin("u")
		if !isError(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "READONLY") {
			t.Errorf("a login on a replica: %v", err)
		}
		if s, err := g.Find(t.Context(), token); err != nil || s.Source == session.FromKnown {
			t.Errorf("a refused write stopped the reads: %v, %v", s.Source, err)
		}
	}
	if g.store.Away() {
		t.Error("a refused write counts as an outage, but reads work")
	}
	if err := g.Revoke(t.Context(), rec.Key(), "u"); !isError(err, session.ErrUnconfirmed) {
		t.Errorf("Revoke: %v", err)
	}
	g.refuses(t, token, session.ErrNotFound)
	server.Do(t, "REPLICAOF", "NO", "ONE")
	await(t, "the revocation to be confirmed", func() bool {
		n, _ := ptr(server.Do(t, "EXISTS", name(rec))).AsInt64()
		return n == 0
	})
}

// The old master stays reachable behind its connections, the name leads to the new one.
func outageFailover(t *testing.T) {
	old, next := testredis.Start(t), testredis.Start(t)
	proxy := newSwitch(t, old.Addr)
	g := newGateway(t, proxy.addr)
	g.login(t, "u")
	host, port, _ := net.SplitHostPort(next.Addr)
	old.Do(t, "REPLICAOF", host, port)
	proxy.lead(next.Addr)
	// All of them: the client has several connections, and opens some of them late.
	await(t, "logins to go to the new master", func() bool {
		for range 30 {
			if _, _, err := g.tryLogin("u"); err != nil {
				return false
			}
		}
		return true
	})
}

func outagePassword(t *testing.T) {
	server := testredis.Start(t, testredis.Password("right"))
	file := filepath.Join(t.TempDir(), "password")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("wrong\n")
	g := newGateway(t, server.Addr, func(s *settings) { s.redis.PasswordFile, s.down = file, true })
	g.refuses(t, session.NewToken("u"), session.ErrUnavailable)
	if err := g.Ready(t.Context()); !isError(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "redis.password_file") {
		t.Errorf("Ready: %v", err)
	}
	log := g.log.String()
	if !strings.Contains(log, "WRONGPASS") || strings.Contains(log, "wrong\"") {
		t.Errorf("the log must say what is wrong, and no password: %s", log)
	}
	time.Sleep(600 * time.Millisecond) // some probes
	if n := strings.Count(g.log.String(), "trying on"); n != 1 {
		t.Errorf("the same problem is logged %d times: %s", n, g.log.String())
	}
	write("right\r\n")
	await(t, "the corrected password to be used", func() bool { return g.Ready(t.Context()) == nil })
	await(t, "logins", func() bool { _, _, err := g.tryLogin("u"); return err == nil })
}

func outageStart(t *testing.T) {
	server := testredis.Start(t)
	server.Kill()
	start := time.Now()
	g := newGateway(t, server.Addr, quick, func(s *settings) { s.down = true })
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("opening took %v", took)
	}
	g.refuses(t, session.NewToken("u"), session.ErrUnavailable)
	if g.metric("gatehouse_redis_outage") != 1 {
		t.Error("no outage counted")
	}
	server.Restart()
	await(t, "logins", func() bool { _, _, err := g.tryLogin("u"); return err == nil })
	token, _ := g.login(t, "u")
	warm(t, g, token)
}

// At maxmemory nobody can log in; finding and revoking work.
func outageFull(t *testing.T) {
	server := testredis.Start(t)
	g, fresh := newGateway(t, server.Addr), newGateway(t, server.Addr)
	token, rec := g.login(t, "u")
	other, _ := g.login(t, "u")
	server.Do(t, "CONFIG", "SET", "maxmemory", "1mb")
	for range 5 {
		if _, _, err := g.tryLogin("u"); !isError(err, session.ErrUnavailable) || !strings.Contains(err.Error(), "OOM") {
			t.Fatalf("a login on a full server: %v", err)
		}
		// Not in this one's memory, so that the transaction of the cache is refused.
		fresh.finds(t, token)
		fresh.refuses(t, session.NewToken("u"), session.ErrNotFound)
	}
	if list, err := g.List(t.Context(), "u"); err != nil || len(list) != 2 {
		t.Errorf("a refused login changed something: %d sessions, %v", len(list), err)
	}
	if err := g.Revoke(t.Context(), rec.Key(), "u"); err != nil {
		t.Errorf("Revoke: %v", err)
	}
	if n, err := g.RevokeUser(t.Context(), "u"); err != nil || n != 1 {
		t.Errorf("RevokeUser: %d, %v", n, err)
	}
	await(t, "the end to be heard of", func() bool { _, err := fresh.Find(t.Context(), other); return isError(err, session.ErrNotFound) })
	if g.store.Away() || fresh.store.Away() {
		t.Error("a full server counts as away")
	}
}

// Connections that break under load cost next to nobody an answer.
func outageBreak(t *testing.T) {
	server := testredis.Start(t)
	g := newGateway(t, server.Addr, func(s *settings) { s.outage.ServeKnownFor = 0 })
	token, _ := g.login(t, "u")
	stop := make(chan struct{})
	var all sync.WaitGroup
	var mu sync.Mutex
	total, failed := 0, 0
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_, err := g.Find(context.Background(), token)
				_, missing := g.Find(context.Background(), session.NewToken("u"))
				mu.Lock()
				total++
				if err != nil || !errors.Is(missing, session.ErrNotFound) {
					failed++
				}
				mu.Unlock()
			}
		})
	}
	for range 5 {
		time.Sleep(100 * time.Millisecond)
		server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
	}
	close(stop)
	all.Wait()
	t.Logf("%d of %d failed over 5 broken connections", failed, total)
	if failed*20 > total || total < 100 {
		t.Errorf("%d of %d failed", failed, total)
	}
}
