package session

import (
	"crypto/rand"
	"sync"
	"time"

	"gatehouse/config"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis inside the process, for trying Gatehouse out: nothing is kept on disk, it serves
// one process, and moving its clock costs time in proportion to the sessions (good up to some
// ten thousand). It speaks Redis's protocol on a loopback port, so it is the same store, the same
// scripts; the password, new at each start, keeps others on the machine from reading it.
type embedded struct {
	server   *miniredis.Miniredis
	password string
	stop     chan struct{}
	clock    sync.WaitGroup
}

// embeddedTick is how often the embedded Redis's time moves on: by itself it stands still.
const embeddedTick = time.Second

func startEmbedded() (*embedded, error) {
	e := &embedded{server: miniredis.NewMiniRedis(), password: rand.Text(), stop: make(chan struct{})}
	e.server.RequireAuth(e.password)
	if err := e.server.Start(); err != nil {
		return nil, err
	}
	e.clock.Go(e.run)
	return e, nil
}

// run lets keys expire. TIME inside scripts is the machine's clock already; only the times to live
// must be counted down.
func (e *embedded) run() {
	tick := time.NewTicker(embeddedTick)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-e.stop:
			return
		case now := <-tick.C:
			e.server.FastForward(now.Sub(last))
			last = now
		}
	}
}

// connection gives the configuration that reaches the embedded Redis.
func (e *embedded) connection(cfg config.Redis) config.Redis {
	return config.Redis{
		Addresses: []string{e.server.Addr()}, Password: config.Secret(e.password),
		KeyPrefix: cfg.KeyPrefix, Timeout: cfg.Timeout,
	}
}

// close may be called on nil: there is none with a real Redis.
func (e *embedded) close() {
	if e == nil {
		return
	}
	close(e.stop)
	e.clock.Wait()
	e.server.Close()
}
