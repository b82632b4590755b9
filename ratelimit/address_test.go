package ratelimit_test

import (
	"net/netip"
	"testing"

	"gatehouse/ratelimit"
)

func TestAddressKey(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ addr, want string }{
		{"192.0.2.1", "192.0.2.1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"},
		{"2001:db8:1:2:ffff::", "2001:db8:1:2::/64"},
		{"2001:db8:1:3::1", "2001:db8:1:3::/64"},
		{"fe80::1%eth0", "fe80::/64"},
		{"::1", "::/64"},
	} {
		if got := ratelimit.AddressKey(netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%s has key %s, want %s", tt.addr, got, tt.want)
		}
	}
	if got := ratelimit.AddressKey(netip.Addr{}); got == "" {
		t.Error("H10: a client without an address has no key")
	}
}
