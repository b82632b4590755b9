package config

import (
	"math"
	"net/netip"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The words of Vault in the file.
const (
	vaultHTTPOnly = "httponly"
	vaultNone     = "none"
)

const durationFix = "write a number with its unit, such as 250ms, 30s, 15m or 168h"

func parseDuration(s string) (time.Duration, *fault) {
	d, err := time.ParseDuration(s)
	switch {
	case err == nil && d < 0:
		return 0, faultf("write "+formatDuration(-d), "%q is negative", s)
	case err == nil:
		return d, nil
	}
	if _, err := strconv.Atoi(s); err == nil {
		return 0, faultf("write "+s+"s for seconds or "+s+"ms for milliseconds", "%q has no unit", s)
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n >= 0 && n < 100_000 {
			return 0, faultf("write "+strconv.Itoa(24*n)+"h", "%q is in days, which is no unit here", s)
		}
	}
	return 0, faultf(durationFix, "%q is not a duration", s)
}

var sizePattern = regexp.MustCompile(`^([0-9]+)\s*([A-Za-z]*)$`)

func parseSize(s string) (Size, *fault) {
	const fix = "write a number of bytes or one with KiB, MiB, GiB, KB, MB or GB, such as 64KiB"
	m := sizePattern.FindStringSubmatch(s)
	if m == nil {
		return 0, faultf(fix, "%q is not a size", s)
	}
	units := map[string]Size{"": 1, "b": 1, "kib": KiB, "mib": MiB, "gib": GiB, "kb": 1e3, "mb": 1e6, "gb": 1e9}
	unit, ok := units[strings.ToLower(m[2])]
	if !ok {
		if len(m[2]) == 1 && strings.ContainsAny(m[2], "kKmMgG") {
			return 0, faultf("write "+m[1]+strings.ToUpper(m[2])+"iB", "%q has no full unit", s)
		}
		return 0, faultf(fix, "%q has an unknown unit", s)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil || n > math.MaxInt64/int64(unit) {
		return 0, faultf("write a smaller size", "%q is too large", s)
	}
	return Size(n) * unit, nil
}

func parseRate(s string) (Rate, *fault) {
	const fix = "write how many per s, m or h, such as 30/m"
	events, unit, ok := strings.Cut(s, "/")
	n, err := strconv.Atoi(strings.TrimSpace(events))
	if err != nil {
		return Rate{}, faultf(fix, "%q is not a rate", s)
	}
	if !ok {
		return Rate{}, faultf("write "+s+"/m for "+s+" per minute", "%q says no period", s)
	}
	per, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[strings.TrimSpace(unit)]
	if !ok {
		return Rate{}, faultf(fix, "%q has an unknown period %q", s, unit)
	}
	if n < 1 {
		return Rate{}, faultf("write at least 1/"+unit, "%q would let nothing through", s)
	}
	return Rate{Events: n, Per: per}, nil
}

func parsePrefix(s string) (netip.Prefix, *fault) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" && !addr.Is4In6() {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil:
		return p, faultf("write an address range such as 10.0.0.0/8, or one address", "%q is not an address range", s)
	case p.Addr().Is4In6():
		// ::ffff:0:0/96 would be a catch-all in disguise.
		return p, faultf("write it as an IPv4 range", "%q is an IPv4 range written as IPv6", s)
	case p.Masked() != p:
		return p, faultf("write "+p.Masked().String(), "%q has bits set behind its length", s)
	}
	return p, nil
}

// parseOrigin reads the http or https URL of an origin. example is a right value for this key.
func parseOrigin(s, example string) (*url.URL, *fault) {
	return parseHostURL(s, example, "http", "https")
}

// parseHostURL reads scheme://host[:port] with one of the schemes. A value with a user part is not
// repeated in the message: it probably holds a password.
func parseHostURL(s, example string, schemes ...string) (*url.URL, *fault) {
	if strings.Contains(s, "@") {
		return nil, faultf("write it without user and password, such as "+example, "has a user part (before an @)")
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		return nil, faultf("write "+example, "%q has no scheme (%s)", s, schemeList(schemes))
	}
	if scheme = strings.ToLower(scheme); !slices.Contains(schemes, scheme) {
		return nil, faultf("write "+schemeList(schemes)+", such as "+example, "%q has the scheme %q", s, scheme)
	}
	hostport := strings.TrimSuffix(rest, "/")
	if i := strings.IndexAny(hostport, "/?#"); i >= 0 {
		return nil, faultf("write "+scheme+"://"+hostport[:i], "%q has more than scheme and host", s)
	}
	if f := checkOriginHost(hostport); f != nil {
		return nil, faultf("write "+example, "%q: %s", s, f.what)
	}
	return &url.URL{Scheme: scheme, Host: strings.ToLower(hostport)}, nil
}

// schemeList is "a://, b:// or c://".
func schemeList(schemes []string) string {
	last := len(schemes) - 1
	return strings.Join(schemes[:last], "://, ") + ":// or " + schemes[last] + "://"
}

// upstreamSchemes are those with a host; unix: has none.
var upstreamSchemes = []string{"http", "https", "h2c", "h2"}

func parseUpstream(s string) (*Upstream, *fault) {
	const example = "http://127.0.0.1:3000"
	if socket, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseSocket(s, strings.TrimPrefix(socket, "//")) // unix:///path is meant alike
	}
	if !strings.Contains(s, "://") && !strings.Contains(s, "@") && checkOriginHost(s) == nil {
		return nil, faultf("write http://"+s, "%q has no scheme (%s or unix:)", s, strings.Join(upstreamSchemes, "://, ")+"://")
	}
	u, f := parseHostURL(s, example, upstreamSchemes...)
	if f != nil {
		return nil, f
	}
	up := &Upstream{URL: u}
	switch u.Scheme {
	case "h2c":
		u.Scheme, up.HTTP2 = "http", true
	case "h2":
		u.Scheme, up.HTTP2 = "https", true
	}
	return up, nil
}

func parseSocket(s, socket string) (*Upstream, *fault) {
	switch {
	case !strings.HasPrefix(socket, "/"):
		return nil, faultf("write unix:/path/to/app.sock", "%q is not an absolute path of a socket", s)
	case strings.ContainsRune(socket, 0) || path.Clean(socket) == "/":
		return nil, faultf("write unix:/path/to/app.sock", "%q is not the path of a socket", s)
	case len(socket) > 107: // sun_path of unix(7) without its closing NUL
		return nil, faultf("write a shorter path", "the socket's path has %d bytes, 107 are possible", len(socket))
	}
	return &Upstream{URL: &url.URL{Scheme: "http", Host: "localhost"}, Socket: socket}, nil
}

func parseVault(s string) (Vault, *fault) {
	switch s {
	case vaultHTTPOnly:
		return Vault{HTTPOnly: true}, nil
	case vaultNone:
		return Vault{}, nil
	}
	fix := "write httponly, none or a list of cookie names: [" + s + "]"
	if n := nearest(s, []string{vaultHTTPOnly, vaultNone}); n != "" {
		fix = "did you mean " + n + "? Known are httponly, none and a list of cookie names"
	}
	return Vault{}, faultf(fix, "%q is not a known word", s)
}
