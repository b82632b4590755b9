package ratelimit

import "net/netip"

// AddressKey is what an address is limited by: an IPv4 address itself, an IPv6 address's /64, because
// one customer commands all of a /64 (H10, L03). Clients without an address (unix socket) share one key.
func AddressKey(client netip.Addr) string {
	client = client.Unmap().WithZone("")
	if !client.Is6() {
		return client.String()
	}
	prefix, err := client.Prefix(64)
	if err != nil {
		return client.String()
	}
	return prefix.String()
}
