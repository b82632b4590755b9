package config

// ConnectionLimits bound how many connections clients hold open at once, whatever goes on in them: requests, waiting
// for the next one, WebSockets. They are counted before TLS, so that one too many costs no handshake.
//
// Against: floods of connections, each of which holds memory and an open file until it times out (slowloris and its kin,
// CWE-770).
type ConnectionLimits struct {
	// PerAddress is how many one client address may hold (IPv6: one /64, which is one customer's). More are closed at
	// once. Peers in trusted_proxies and verify.trusted are not held to it, since everybody's connections are theirs. Default 1000, above what an
	// office behind one address opens (browsers: six each over HTTP/1.1); 0 = no limit.
	PerAddress int `mapstructure:"per_address"`
	// Total is how many there may be. More are closed at once; those from this machine itself may be 8 more, so that
	// health checks still get through. Default 10000; 0 = no limit but the process's open files, of which each may take two.
	Total int `mapstructure:"total"`
}

// connections checks the limits of connections.
func (k *checker) connections(c ConnectionLimits) {
	k.notNegative("connection_limits.per_address", c.PerAddress, "1000")
	k.notNegative("connection_limits.total", c.Total, "10000")
	if c.Total > 0 && c.PerAddress > c.Total {
		k.add("connection_limits.per_address", faultf("write less, or 0 for no limit per address", "%d is more than total, which is %d: it would never hold", c.PerAddress, c.Total))
	}
}

// notNegative wants a number, or 0 for no limit.
func (k *checker) notNegative(path string, n int, example string) {
	if n < 0 {
		k.add(path, faultf("write a number such as "+example+", or 0 for no limit", "is negative"))
	}
}
