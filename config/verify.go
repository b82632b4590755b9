package config

import "net/netip"

// Verify is the answer to web servers that ask about each request before they pass it on themselves
// (forward-auth: nginx auth_request, Traefik ForwardAuth, Caddy forward_auth).
type Verify struct {
	// Dialect is which web server asks, nginx, traefik or caddy: it alone decides in which headers the
	// request asked about is looked for, and how a refusal is told. Default: none, /.gatehouse/verify is 404.
	Dialect string `mapstructure:"dialect"`
	// Trusted are the peers that may ask. They need not stand in TrustedProxies as well. Default: none;
	// required with Dialect. A catch-all (/0) is refused (case H04).
	Trusted []netip.Prefix `mapstructure:"trusted"`
}

// The values of Verify.Dialect; empty means that nobody may ask.
const (
	DialectNginx   = "nginx"
	DialectTraefik = "traefik"
	DialectCaddy   = "caddy"
)
