package config

import (
	"slices"
	"strings"
)

// redisSentinel checks the way to the master by sentinels.
func (k *checker) redisSentinel(r Redis) {
	const key = "redis.sentinel"
	s := r.Sentinel
	if !s.Enabled() {
		if len(s.Addresses) > 0 || s.Username != "" || s.Password != "" || s.PasswordFile != "" {
			k.add(key+".master", faultf("write the name behind \"sentinel monitor\" in the sentinels' files, such as mymaster",
				"is missing, so what else stands in redis.sentinel has no effect"))
		}
		return
	}
	if !slices.Equal(r.Addresses, Default().Redis.Addresses) {
		// Whoever writes both expects one of them to be used, and sessions would be in the other.
		k.add("redis.addresses", faultf("delete it, the sentinels know where Redis is; or delete redis.sentinel",
			"is set beside redis.sentinel, which says the same another way"))
	}
	if strings.ContainsFunc(s.Master, func(c rune) bool { return !masterChar(c) }) {
		k.add(key+".master", faultf("write the name behind \"sentinel monitor\" in the sentinels' files, such as mymaster",
			"%q is not a name Sentinel knows, those have letters, digits and .-_", shorten(s.Master)))
	}
	if len(s.Addresses) == 0 {
		k.add(key+".addresses", faultf("write some of the sentinels, such as [sentinel-1:26379, sentinel-2:26379]", "is empty"))
	}
	for i, a := range s.Addresses {
		at := entry(key+".addresses", i)
		switch {
		case strings.TrimSpace(a) == "":
			k.add(at, faultf("write host:port", "is empty"))
		case slices.Contains(s.Addresses[:i], a):
			k.add(at, faultf("delete it", "%q stands twice", shorten(a)))
		default:
			k.add(at, checkSentinelAddress(a))
		}
	}
}

// masterChar is what Sentinel allows in a name.
func masterChar(c rune) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune(".-_", c)
}

func checkSentinelAddress(a string) *fault {
	if strings.Contains(a, "@") || strings.Contains(a, "://") {
		return faultf("write host:port here, user and password under their own keys", "is a URL") // not repeated: it may hold a password
	}
	if a == EmbeddedRedis {
		return faultf("write the sentinels, or redis.addresses: [embedded] without redis.sentinel", "the embedded store has no sentinels")
	}
	f := checkAddress(a, 1, "127.0.0.1:26379")
	if f == nil && strings.HasPrefix(a, ":") {
		return faultf("write 127.0.0.1"+a, "%q has no host", a)
	}
	return f
}
