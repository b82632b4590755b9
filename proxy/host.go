package proxy

import (
	"net/netip"
	"strconv"
	"strings"
)

// maxHost is the longest host name of the DNS, in bytes.
const maxHost = 253

// FoldHost gives a Host header, or an absolute-form target's authority, the form in which hosts are
// compared: lower case, without port and without one trailing dot; an IPv6 address in brackets and
// in its shortest form. It reports false for what is no host: nothing, lists, user information,
// blanks, anything beyond letters, digits, hyphen, dot and underscore (P09).
//
// A host that is folded already costs no allocation.
func FoldHost(host string) (string, bool) {
	if strings.HasPrefix(host, "[") {
		return foldIPv6(host)
	}
	if colon := strings.IndexByte(host, ':'); colon >= 0 {
		if !isPort(host[colon+1:]) {
			return "", false
		}
		host = host[:colon]
	}
	host = strings.TrimSuffix(host, ".")
	if host == "" || len(host) > maxHost || host[0] == '.' || strings.Contains(host, "..") || host[len(host)-1] == '.' {
		return "", false
	}
	for i := range len(host) {
		if c := host[i]; foldNameByte(c) == '-' && c != '-' && c != '.' && c != '_' {
			return "", false
		}
	}
	return strings.ToLower(host), true
}

func foldIPv6(host string) (string, bool) {
	end := strings.IndexByte(host, ']')
	if end < 0 {
		return "", false
	}
	if rest := host[end+1:]; rest != "" && (rest[0] != ':' || !isPort(rest[1:])) {
		return "", false
	}
	addr, err := netip.ParseAddr(host[1:end])
	if err != nil || !addr.Is6() || addr.Zone() != "" {
		return "", false
	}
	return "[" + addr.String() + "]", true
}

// isPort accepts an empty port too, as RFC 3986, 3.2.3 does.
func isPort(s string) bool {
	if s == "" {
		return true
	}
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0
}
