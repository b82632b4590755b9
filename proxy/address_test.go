package proxy

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func prefixesOf(cidrs ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range cidrs {
		out = append(out, netip.MustParsePrefix(c))
	}
	return out
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	trusted := prefixesOf("10.0.0.0/8", "fd00::/8", "127.0.0.1/32")
	rows := []struct {
		name, peer string
		forwarded  []string
		client     string
		trusts     bool
	}{
		{"H10_no_proxy", "203.0.113.7:1234", nil, "203.0.113.7", false},
		{"H10_untrusted_peer_says", "203.0.113.7:1234", []string{"1.2.3.4"}, "203.0.113.7", false},
		{"H10_one_proxy", "10.0.0.1:1234", []string{"203.0.113.7"}, "203.0.113.7", true},
		{"H10_says_nothing", "10.0.0.1:1234", nil, "10.0.0.1", true},
		{"H10_spoofed_left", "10.0.0.1:1234", []string{"1.2.3.4, 203.0.113.7"}, "203.0.113.7", true},
		{"H10_spoofed_trusted", "10.0.0.1:1234", []string{"10.9.9.9, 203.0.113.7, 10.0.0.2"}, "203.0.113.7", true},
		{"H10_chain", "10.0.0.1:1", []string{"203.0.113.7, 10.0.0.3,10.0.0.2"}, "203.0.113.7", true},
		{"H10_all_trusted", "10.0.0.1:1", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3", true},
		{"H10_several_lines", "10.0.0.1:1", []string{"1.2.3.4", "203.0.113.7", "10.0.0.2"}, "203.0.113.7", true},
		{"H10_several_lines_untrusted_last", "10.0.0.1:1", []string{"10.0.0.2", "203.0.113.7"}, "203.0.113.7", true},
		{"H10_unparsable_ends_it", "10.0.0.1:1", []string{"1.2.3.4, unknown, 10.0.0.2"}, "10.0.0.2", true},
		{"H10_empty_ends_it", "10.0.0.1:1", []string{"1.2.3.4, , 10.0.0.2"}, "10.0.0.2", true},
		{"H10_empty_line", "10.0.0.1:1", []string{"1.2.3.4", ""}, "10.0.0.1", true},
		{"H10_only_junk", "10.0.0.1:1", []string{"' OR 1=1"}, "10.0.0.1", true},
		{"H10_ports", "10.0.0.1:1", []string{"203.0.113.7:4711, 10.0.0.2:80"}, "203.0.113.7", true},
		{"H10_ipv6", "[fd00::1]:1", []string{"2001:db8::7"}, "2001:db8::7", true},
		{"H10_ipv6_port", "[fd00::1]:1", []string{"[2001:db8::7]:443, [fd00::2]"}, "2001:db8::7", true},
		{"H10_mapped_peer", "[::ffff:10.0.0.1]:1", []string{"::ffff:203.0.113.7"}, "203.0.113.7", true},
		{"H10_mapped_untrusted", "[::ffff:203.0.113.7]:1", []string{"1.2.3.4"}, "203.0.113.7", false},
		{"H10_zone", "[fd00::1%eth0]:1", []string{"fe80::1%lo"}, "fe80::1", true},
		{"H10_bracketed_ipv4", "10.0.0.1:1", []string{"[203.0.113.7]"}, "10.0.0.1", true},
		{"H10_tabs", "10.0.0.1:1", []string{"1.2.3.4,\t203.0.113.7 \t"}, "203.0.113.7", true},
		{"H10_unix_at", "@", []string{"10.0.0.2"}, "invalid IP", false},
		{"H10_unix_empty", "", []string{"127.0.0.1"}, "invalid IP", false},
		{"H10_unix_path", "/run/app.sock", []string{"127.0.0.1"}, "invalid IP", false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{RemoteAddr: row.peer, Header: http.Header{}}
			if row.forwarded != nil {
				r.Header["X-Forwarded-For"] = row.forwarded
			}
			client, trusts := ClientAddress(r, trusted)
			if client.String() != row.client || trusts != row.trusts {
				t.Errorf("got %s (trusted %v), want %s (%v)", client, trusts, row.client, row.trusts)
			}
		})
	}
	t.Run("H04_nobody_is_trusted_by_default", func(t *testing.T) {
		r := &http.Request{RemoteAddr: "127.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"1.2.3.4"}}}
		if client, trusts := ClientAddress(r, nil); trusts || client.String() != "127.0.0.1" {
			t.Errorf("got %s, %v", client, trusts)
		}
	})
}

func TestFoldHost(t *testing.T) {
	t.Parallel()
	t.Run("P09_folded", func(t *testing.T) {
		for host, want := range map[string]string{
			"a.example.com": "a.example.com", "A.Example.COM.": "a.example.com", "A.Example.COM.:8080": "a.example.com", "localhost:": "localhost", "my_app": "my_app",
			"127.0.0.1:80": "127.0.0.1", "[::1]": "[::1]", "[2001:DB8:0::1]:443": "[2001:db8::1]", "xn--strae-oqa.de": "xn--strae-oqa.de",
		} {
			if got, ok := FoldHost(host); !ok || got != want {
				t.Errorf("%q: %q %v, want %q", host, got, ok, want)
			}
		}
	})
	t.Run("P09_refused", func(t *testing.T) {
		for _, host := range []string{
			"", ".", "..", "a..b", "a..", ".a", "a,b", "a, b", "a b", " a", "user@a", "u:p@a", "a:b", "a:80:80", "a:-1", "a:65536", "a:0", "a:+80", "a/b", `a\b`, "a?b", "a#b", "a%62", "ä.de",
			"[::1", "::1", "[::1]x", "[::1]:x", "[1.2.3.4]", "[fe80::1%eth0]", "[]", "a\x00", "a\tb", "a;b", "*", strings.Repeat("a", 254),
		} {
			if got, ok := FoldHost(host); ok {
				t.Errorf("%q is accepted as %q", host, got)
			}
		}
	})
}

func TestForwardedProto(t *testing.T) {
	t.Parallel()
	secure := &tls.ConnectionState{}
	rows := []struct {
		name    string
		tls     *tls.ConnectionState
		lines   []string
		trusted bool
		want    string
	}{
		{"plain", nil, nil, false, "http"},
		{"own_tls", secure, []string{"http"}, true, "https"},
		{"H04_untrusted", nil, []string{"https"}, false, "http"},
		{"trusted", nil, []string{"https"}, true, "https"},
		{"any_case", nil, []string{" HTTPS "}, true, "https"},
		{"H04_spoofed_before_the_proxy", nil, []string{"https, http"}, true, "http"},
		{"last_of_several_lines", nil, []string{"http", "https"}, true, "https"},
		{"junk", nil, []string{"wss"}, true, "http"},
		{"trusted_says_nothing", nil, nil, true, "http"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			r := &http.Request{TLS: row.tls, Header: http.Header{}}
			if row.lines != nil {
				r.Header["X-Forwarded-Proto"] = row.lines
			}
			if got := ForwardedProto(r, row.trusted); got != row.want {
				t.Errorf("got %s, want %s", got, row.want)
			}
		})
	}
}

// FuzzClientAddress: whatever is forwarded, the client is the peer unless that is trusted, and no client is
// invalid then.
func FuzzClientAddress(f *testing.F) {
	f.Add("10.0.0.1:1", "1.2.3.4, 10.0.0.2", "unknown")
	f.Add("@", "1.2.3.4", "")
	f.Add("[fd00::1]:1", "[::1]:1,,", "::ffff:1.2.3.4%eth")
	trusted := prefixesOf("10.0.0.0/8", "fd00::/8")
	f.Fuzz(func(t *testing.T, peer, first, second string) {
		r := &http.Request{RemoteAddr: peer, Header: http.Header{"X-Forwarded-For": {first, second}}}
		client, trusts := ClientAddress(r, trusted)
		r.Header = http.Header{}
		alone, aloneTrusts := ClientAddress(r, trusted)
		if trusts != aloneTrusts {
			t.Fatalf("the header decided whether %q is trusted", peer)
		}
		if !trusts && client != alone {
			t.Fatalf("untrusted %q became %s by a header", peer, client)
		}
		if trusts && (!client.IsValid() || client.Is4In6() || client.Zone() != "") {
			t.Fatalf("client %q", client)
		}
	})
}
