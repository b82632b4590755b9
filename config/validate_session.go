package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode"
)

// session checks how long sessions live and how the browser holds them.
func (k *checker) session(c *Config) {
	s := c.Session
	if s.Idle < time.Second {
		k.add("session.idle", faultf("write at least 1s, such as 168h", "%s is too short to use a session", formatDuration(s.Idle)))
	}
	if s.Absolute < s.Idle {
		k.add("session.absolute", faultf("write at least session.idle, or shorten that", "%s is shorter than session.idle, %s",
			formatDuration(s.Absolute), formatDuration(s.Idle)))
	}
	if s.MaxPerUser < 1 {
		k.add("session.max_per_user", faultf("write at least 1, such as 20", "%d lets nobody in", s.MaxPerUser))
	}
	if s.CacheSize < MiB {
		k.add("session.cache_size", faultf("write at least 1MiB, such as 256MiB", "%s holds no sessions worth the name", s.CacheSize))
	}
	k.add("session.at_limit", oneOf(s.AtLimit, EvictOldest, Reject))
	k.cookie(s.Cookie, c.PublicURL)
}

// cookie checks what browsers would refuse without a word: people could then never log in.
func (k *checker) cookie(c Cookie, public *url.URL) {
	const key = "session.cookie"
	if f := checkCookieName(c); f != nil {
		k.add(key+".name", f)
	}
	k.add(key+".same_site", oneOf(c.SameSite, SameSiteLax, SameSiteStrict, SameSiteNone))
	if c.SameSite == SameSiteNone && !c.Secure {
		k.add(key+".same_site", faultf("write secure: true, or same_site: lax", "none without secure is refused by browsers"))
	}
	if c.Domain != "" {
		k.add(key+".domain", checkDomain(c.Domain, public))
	}
	if c.Secure && public != nil && public.Scheme == "http" && !loopback(public.Hostname()) {
		k.add(key+".secure", faultf("write secure: false, or give public_url https",
			"is true, but public_url is http, where browsers do not send such a cookie"))
	}
}

// checkCookieName holds to the prefixes of RFC 6265bis, section 4.1.3. They are what keeps a
// sibling domain from planting a session (case S01). Browsers compare them whatever the case.
func checkCookieName(c Cookie) *fault {
	lower := strings.ToLower(c.Name)
	host, secure := strings.HasPrefix(lower, "__host-"), strings.HasPrefix(lower, "__secure-")
	switch {
	case !token(c.Name):
		return faultf("write letters, digits, - and _, such as gatehouse", "%q is not a cookie name", c.Name)
	case lower == "__host-" || lower == "__secure-":
		return faultf("write "+c.Name+"gatehouse", "%q is only a prefix", c.Name)
	case host && c.Domain != "":
		return faultf("delete domain, or choose a name without __Host-", "%q cannot have a domain, browsers refuse it", c.Name)
	case (host || secure) && !c.Secure:
		return faultf("write secure: true, or choose a name without prefix", "%q without secure is refused by browsers", c.Name)
	}
	return nil
}

func checkDomain(domain string, public *url.URL) *fault {
	if bare := strings.TrimLeft(domain, "."); bare != domain {
		return faultf("write "+bare, "%q begins with a dot, which browsers ignore", domain)
	}
	if _, err := netip.ParseAddr(domain); err == nil {
		return faultf("delete it", "%q is an address, cookies have domains only below names", domain)
	}
	if f := checkPlainHost(domain); f != nil {
		return f
	}
	if public != nil {
		host, domain := strings.ToLower(public.Hostname()), strings.ToLower(domain)
		if host != domain && !strings.HasSuffix(host, "."+domain) {
			return faultf("write "+host+" or the domain above it", "%q does not hold public_url's host %s, browsers refuse it", domain, host)
		}
	}
	return nil
}

// redis checks the store's section.
func (k *checker) redis(r Redis) {
	k.redisSentinel(r)
	if len(r.Addresses) == 0 {
		k.add("redis.addresses", faultf("write [127.0.0.1:6379], or [embedded] for trying out", "is empty"))
	}
	for i, a := range r.Addresses {
		key := entry("redis.addresses", i)
		switch {
		case strings.TrimSpace(a) == "":
			k.add(key, faultf("write host:port", "is empty"))
		case a == EmbeddedRedis && len(r.Addresses) > 1:
			k.add(key, faultf("write [embedded] alone, or only real addresses", "embedded stands beside other addresses"))
		case a == EmbeddedRedis:
		case slices.Contains(r.Addresses[:i], a):
			k.add(key, faultf("delete it", "%q stands twice", shorten(a)))
		default:
			k.add(key, checkRedisAddress(a))
		}
	}
	if r.DB < 0 {
		k.add("redis.db", faultf("write 0 or more", "%d is negative", r.DB))
	}
	if r.DB > 0 && len(r.Addresses) > 1 {
		k.add("redis.db", faultf("write 0, or one address", "%d cannot be chosen, several addresses are a Cluster, which has only database 0", r.DB))
	}
	if strings.ContainsFunc(r.KeyPrefix, func(c rune) bool { return unicode.IsSpace(c) || unicode.IsControl(c) || c == '{' || c == '}' }) {
		k.add("redis.key_prefix", faultf("write letters, digits and colons, such as myapp:", "%q has braces or spaces; braces would scatter a user's keys over a Cluster", r.KeyPrefix))
	}
	if r.Timeout < 10*time.Millisecond || r.Timeout > 30*time.Second {
		k.add("redis.timeout", faultf("write 10ms to 30s, such as 250ms", "%s is not a time in which Redis answers and people wait", formatDuration(r.Timeout)))
	}
	k.redisTLS(r.TLS)
}

func checkRedisAddress(a string) *fault {
	if nearest(a, []string{EmbeddedRedis}) != "" {
		return faultf("did you mean embedded?", "%q is not host:port", a)
	}
	if strings.Contains(a, "@") || strings.Contains(a, "://") {
		return faultf("write host:port here, user, password and database under their own keys", "is a URL") // not repeated: it may hold a password
	}
	f := checkAddress(a, 1, "127.0.0.1:6379")
	if f == nil && strings.HasPrefix(a, ":") {
		return faultf("write 127.0.0.1"+a, "%q has no host", a)
	}
	return f
}

// redisTLS checks that files are both there, and that TLS was not prepared and then left off:
// the sessions would cross the network in the clear.
func (k *checker) redisTLS(t RedisTLS) {
	k.pair("redis.tls", "cert_file", t.CertFile, "key_file", t.KeyFile)
	if !t.Enabled && (t.CAFile != "" || t.CertFile != "" || t.KeyFile != "" || t.ServerName != "") {
		k.add("redis.tls.enabled", faultf("write enabled: true, or delete the other keys of redis.tls", "is false, so what else stands in redis.tls has no effect"))
	}
	if t.ServerName != "" {
		k.add("redis.tls.server_name", checkPlainHost(t.ServerName))
	}
}
