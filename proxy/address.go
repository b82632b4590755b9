package proxy

import (
	"net/http"
	"net/netip"
	"strings"
)

// ClientAddress gives the address of the client and whether the peer is a trusted proxy (H10).
//
// Without trusted proxies the client is the peer. A trusted proxy's X-Forwarded-For is read from the
// right, where that proxy wrote, through further trusted ones. The first address that is not
// trusted is the client; whatever stands left of it, the client may have written itself. A hop that
// is no address ends the reading at the last proxy before it. Addresses come unmapped (10.0.0.1, not
// ::ffff:10.0.0.1) and without zone.
//
// The peer of a unix socket has no address: the result is the zero Addr, which nobody trusts.
func ClientAddress(r *http.Request, trusted []netip.Prefix) (client netip.Addr, trustedPeer bool) {
	client, ok := parseHop(r.RemoteAddr)
	if !ok || !isTrusted(client, trusted) {
		return client, false
	}
	lines := r.Header["X-Forwarded-For"]
	for i := len(lines) - 1; i >= 0; i-- {
		for rest, more := lines[i], true; more; {
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				rest, hop = rest[:comma], rest[comma+1:]
			} else {
				hop, more = rest, false
			}
			addr, ok := parseHop(strings.Trim(hop, " \t"))
			if !ok {
				return client, true
			}
			client = addr
			if !isTrusted(addr, trusted) {
				return client, true
			}
		}
	}
	return client, true
}

func isTrusted(addr netip.Addr, trusted []netip.Prefix) bool {
	for _, prefix := range trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parseHop reads an address with or without port, brackets and zone.
func parseHop(s string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(s)
	if err != nil {
		withPort, portErr := netip.ParseAddrPort(s)
		switch {
		case portErr == nil:
			addr = withPort.Addr()
		case len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']':
			if addr, err = netip.ParseAddr(s[1 : len(s)-1]); err != nil || !addr.Is6() {
				return netip.Addr{}, false
			}
		default:
			return netip.Addr{}, false
		}
	}
	return addr.WithZone("").Unmap(), true
}

// ForwardedProto gives the scheme the client speaks, "http" or "https": that of the connection, or
// what a trusted proxy says in X-Forwarded-Proto. Of several values the last counts, since the
// peer wrote it.
func ForwardedProto(r *http.Request, trustedPeer bool) string {
	if r.TLS != nil {
		return "https"
	}
	lines := r.Header["X-Forwarded-Proto"]
	if !trustedPeer || len(lines) == 0 {
		return "http"
	}
	last := lines[len(lines)-1]
	last = last[strings.LastIndexByte(last, ',')+1:]
	if strings.EqualFold(strings.Trim(last, " \t"), "https") {
		return "https"
	}
	return "http"
}
