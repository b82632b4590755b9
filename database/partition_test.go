package database_test

import (
	"errors"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"gatehouse/database"
)

// relay stands between us and a server. forget makes it drop what comes over the connections there are,
// without closing them, as a firewall does that lost its state, or a machine that is gone; new ones work.
type relay struct {
	net.Listener
	to     string
	epoch  atomic.Int64
	mu     sync.Mutex
	conns  []net.Conn
	copies sync.WaitGroup
}

// through gives the URL of the same database through a relay.
func through(t *testing.T, text string) (*relay, string) {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{Listener: l, to: u.Host}
	r.copies.Go(r.serve)
	t.Cleanup(func() {
		r.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.copies.Wait()
	})
	u.Host = l.Addr().String()
	return r, u.String()
}

func (r *relay) serve() {
	for {
		in, err := r.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", r.to)
		if err != nil {
			in.Close()
			continue
		}
		r.mu.Lock()
		r.conns = append(r.conns, in, out)
		r.mu.Unlock()
		epoch := r.epoch.Load()
		r.copies.Go(func() { r.copy(in, out, epoch) })
		r.copies.Go(func() { r.copy(out, in, epoch) })
	}
}

func (r *relay) copy(to, from net.Conn, epoch int64) {
	io.Copy(relayWriter{r, to, epoch}, from)
	if r.epoch.Load() == epoch {
		to.Close()
	}
}

type relayWriter struct {
	relay *relay
	to    net.Conn
	epoch int64
}

func (w relayWriter) Write(p []byte) (int, error) {
	if w.relay.epoch.Load() != w.epoch {
		return len(p), nil
	}
	return w.to.Write(p)
}

func (r *relay) forget() { r.epoch.Add(1) }

// TestDeadConnections: a whole pool of connections that are dead, and do not say so, must not cost one
// timeout each until all of them are found out.
func TestDeadConnections(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		const bound, connections = time.Second, 20
		relay, url := through(t, k.fresh(t))
		db := open(t, url, timeout(bound), maxConnections(connections))
		fill := func() {
			var filled, all sync.WaitGroup
			filled.Add(connections)
			for range connections {
				all.Go(func() {
					err := db.Tx(t.Context(), func(tx *database.Tx) error {
						filled.Done()
						filled.Wait()
						run(t, tx, "SELECT 1")
						return nil
					})
					if err != nil {
						t.Error(err)
						filled.Done()
					}
				})
			}
			all.Wait()
		}
		fill()
		relay.forget()
		for !db.Away() {
			if _, err := tryAsk(t, db, "SELECT 1 AS v"); err != nil {
				mustBeAway(t, err)
			}
		}
		begun := time.Now()
		eventually(t, "the recovery", func() bool { return !db.Away() })
		if took := time.Since(begun); took > connections*bound/2 {
			t.Errorf("recovery took %v, with %d dead connections and a timeout of %v", took, connections, bound)
		}
		for range 2 * connections {
			if got, err := tryAsk(t, db, "SELECT 'alive' AS v"); got != "alive" {
				t.Errorf("a dead connection is left: %v", err)
			}
		}
	})
}

// TestLostCommitAnswer: the server commits, its answer is lost. The error must not say that nothing happened.
func TestLostCommitAnswer(t *testing.T) {
	each(t, func(t *testing.T, k kind) {
		relay, url := through(t, k.fresh(t))
		db := open(t, url, timeout(500*time.Millisecond))
		run(t, db, "CREATE TABLE x (v int)")
		err := db.Tx(t.Context(), func(tx *database.Tx) error {
			run(t, tx, "INSERT INTO x VALUES (1)")
			relay.forget()
			return nil
		})
		if !errors.Is(err, database.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
		// And nobody else is inside that transaction.
		eventually(t, "the next question", func() bool {
			got, err := tryAsk(t, db, "SELECT count(*) AS v FROM x")
			return err == nil && got == "0"
		})
	})
}
