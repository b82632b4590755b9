package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// checkHost finds fault with a host name or IP address without port. Underscores are let
// through: container networks use them.
func checkHost(host string) *fault {
	if _, err := netip.ParseAddr(strings.Trim(host, "[]")); err == nil {
		return nil
	}
	const fix = "write a host name such as app.example.com"
	if host == "" || len(host) > 253 {
		return faultf(fix, "%q is not a host name", host)
	}
	for _, r := range host {
		if r >= 0x80 {
			if ascii, err := idna.Lookup.ToASCII(host); err == nil {
				return faultf("write "+ascii, "%q is not in the form browsers send", host)
			}
			return faultf(fix, "%q is not a host name", host)
		}
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return faultf(fix, "%q is not a host name", host)
		}
		if strings.IndexFunc(label, func(r rune) bool { return !isAlnum(r) && r != '-' && r != '_' }) >= 0 {
			return faultf(fix, "%q is not a host name", host)
		}
	}
	return nil
}

func isAlnum(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
}

// checkPort wants a number from low to 65535; names such as "http" are not looked up.
func checkPort(port string, low int) *fault {
	n, err := strconv.Atoi(port)
	if err != nil || n < low || n > 65535 || strings.HasPrefix(port, "+") {
		return faultf("write a port from "+strconv.Itoa(low)+" to 65535", "%q is not a port", port)
	}
	return nil
}

// checkOriginHost is host[:port] as it stands in a URL.
func checkOriginHost(hostport string) *fault {
	host, port := hostport, ""
	if h, p, err := net.SplitHostPort(hostport); err == nil {
		if f := checkPort(p, 1); f != nil {
			return f
		}
		host, port = h, p
	}
	if strings.Contains(host, ":") && port == "" && !strings.HasPrefix(host, "[") {
		return faultf("", "an IPv6 address needs brackets, a port comes once")
	}
	if f := checkHost(host); f != nil {
		return faultf("", "%q is not a host", host)
	}
	return nil
}

// checkAddress is host:port of a listener or a server; low is the smallest port.
// A user part or a URL is not repeated: it may hold a password.
func checkAddress(s string, low int, example string) *fault {
	if strings.Contains(s, "@") || strings.Contains(s, "://") {
		return faultf("write host and port only, such as "+example, "is a URL")
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		if checkPort(s, low) == nil {
			return faultf("write 127.0.0.1:"+s, "%q has no host", s)
		}
		if checkHost(s) == nil {
			_, p, _ := net.SplitHostPort(example)
			return faultf("write "+net.JoinHostPort(strings.Trim(s, "[]"), p), "%q has no port", s)
		}
		return faultf("write host:port, such as "+example, "%q is not host:port", s)
	}
	if f := checkPort(port, low); f != nil {
		return faultf(f.fix+", such as "+example, "%q: %s", s, f.what)
	}
	if host != "" {
		if f := checkHost(host); f != nil {
			return faultf("write host:port, such as "+example, "%q: %s", s, f.what)
		}
	}
	return nil
}

// loopback reports whether a host, without port, can only be reached from this machine.
func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && addr.IsLoopback()
}

// token reports whether s is a token of RFC 9110, section 5.6.2: a method, a header or a cookie name.
func token(s string) bool {
	return s != "" && strings.IndexFunc(s, func(r rune) bool {
		return !isAlnum(r) && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	}) < 0
}
