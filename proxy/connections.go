package proxy

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
	"gatehouse/ratelimit"
	"gatehouse/telemetry"
)

const (
	// spareLocal is how many connections from this machine itself may be open beyond the total. A health check that finds
	// no place would have the process restarted, by which a flood of idle connections would throw everybody else out too.
	spareLocal = 8
	// refusalsToldEvery bounds the log: a line for each refused connection would be one more thing to flood.
	refusalsToldEvery = time.Minute
)

// Why a connection is refused, as the metric says it.
const (
	overAddress = "per_address"
	overTotal   = "total"
)

// connections is a listener that bounds how many connections are open, from one address and together. A connection counts
// from before its TLS handshake until it is closed, whatever becomes of it: waiting for its next request, or a
// WebSocket that net/http no longer knows.
//
// One too many is closed at once, the newest and not an older one: closing those that wait would let whoever opens
// connections fastest throw the others out. It is not left waiting in the kernel's queue either, for then everybody waits who
// cannot be served anyway, load balancers included, which had better try another replica.
//
// Memory: one entry for each address that has a connection open, so no more than there are connections.
type connections struct {
	net.Listener
	limits  config.ConnectionLimits
	trusted []netip.Prefix
	metrics *telemetry.Metrics
	log     zerolog.Logger
	clock   func() time.Time

	mu        sync.Mutex
	open      int
	byAddress map[string]int
	// untold are the connections refused since the last log line, which was at told.
	untold int
	told   time.Time
}

// newConnections puts the limits around a TCP listener.
func newConnections(l net.Listener, cfg *config.Config, g *Gateway, log zerolog.Logger) *connections {
	return &connections{
		Listener: l, limits: cfg.ConnectionLimits, trusted: g.asks.proxies, metrics: g.Metrics, log: log, clock: g.Clock,
		byAddress: make(map[string]int),
	}
}

// Accept implements net.Listener. It gives the next connection there is a place for.
func (l *connections) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		tcp, ok := conn.(*net.TCPConn)
		if !ok {
			return conn, nil // proxy.Listen takes TCP addresses only
		}
		peer, _ := parseHop(conn.RemoteAddr().String())
		key, over := l.take(peer)
		if over == "" {
			return &connection{TCPConn: tcp, from: l, key: key}, nil
		}
		// By a reset: an orderly end would keep the address in TIME-WAIT for a minute, for each one refused.
		_ = tcp.SetLinger(0)
		_ = tcp.Close()
		l.refused(peer, over)
	}
}

// take counts a connection of peer's, or says which limit it is over. key is what release wants back.
func (l *connections) take(peer netip.Addr) (key, over string) {
	total := l.limits.Total
	if total > 0 && peer.IsLoopback() {
		total += spareLocal
	}
	if !isTrusted(peer, l.trusted) {
		key = ratelimit.AddressKey(peer)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case total > 0 && l.open >= total:
		return "", overTotal
	case l.limits.PerAddress > 0 && key != "" && l.byAddress[key] >= l.limits.PerAddress:
		return "", overAddress
	}
	l.open++
	if key != "" {
		l.byAddress[key]++
	}
	l.metrics.OpenConnections(1)
	return key, ""
}

// release counts a connection that take has counted as closed.
func (l *connections) release(key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if key != "" {
		if l.byAddress[key]--; l.byAddress[key] <= 0 {
			delete(l.byAddress, key)
		}
	}
	l.metrics.OpenConnections(-1)
}

// refused counts a refused connection, and tells of it if the last line is long enough ago.
func (l *connections) refused(peer netip.Addr, over string) {
	l.metrics.ConnectionRefused(over)
	l.mu.Lock()
	l.untold++
	now, n := l.clock(), l.untold
	tell := l.told.IsZero() || now.Sub(l.told) >= refusalsToldEvery || now.Before(l.told)
	if tell {
		l.untold, l.told = 0, now
	}
	l.mu.Unlock()
	if !tell {
		return
	}
	hint := "too many connections are open at once; the last one refused is named here"
	if over == overAddress {
		hint = "too many connections are open from one address; if it is a proxy or load balancer of yours, list it in trusted_proxies"
	}
	l.log.Warn().Int("refused", n).Str("limit", "connection_limits."+over).Str("client", peer.String()).Msg("connections refused: " + hint)
}

// connection is one that counts until it is closed. It embeds the TCP connection, not net.Conn, so that net/http finds
// CloseWrite and ReadFrom.
type connection struct {
	*net.TCPConn
	from *connections
	key  string
	once sync.Once
}

// Close implements net.Conn.
func (c *connection) Close() error {
	err := c.TCPConn.Close()
	c.once.Do(func() { c.from.release(c.key) })
	return err
}
