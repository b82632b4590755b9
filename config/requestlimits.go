package config

// RequestLimits bound how often the application is asked: by one user, whichever sessions they have, and from one address.
// More gets 429 with Retry-After. Each replica counts for itself: a count in Redis would cost each request a round trip, and
// an outage of Redis would be one of the application. Behind n replicas up to n times as much passes.
//
// Against: scraping, floods of costly requests, scripts that have run wild. What comes from thousands of addresses is for what
// stands in front to stop.
type RequestLimits struct {
	// PerUser is the rate of one user's requests, over all their sessions. Who is not logged in is not held to it. Default: none.
	PerUser Rate `mapstructure:"per_user"`
	// PerAddress is the rate of requests from one client address (IPv6: one /64), counted before the session is looked up.
	// Default: none.
	PerAddress Rate `mapstructure:"per_address"`
	// Burst is how many requests may come at once before a rate holds: a page asks for its pictures all together. Default 0: as
	// many as the rate's own number, 300 for 300/m.
	Burst int `mapstructure:"burst"`
}

// Enabled reports whether anything is limited.
func (l RequestLimits) Enabled() bool { return l.PerUser != Rate{} || l.PerAddress != Rate{} }

// BurstOf is how many requests may come at once under a rate.
func (l RequestLimits) BurstOf(r Rate) int {
	if l.Burst > 0 {
		return l.Burst
	}
	return r.Events
}

// requestLimits checks one section of limits on requests.
func (k *checker) requestLimits(key string, l RequestLimits) {
	switch {
	case l.Burst < 0:
		k.add(key+".burst", faultf("write a number such as 50, or delete the line", "is negative"))
	case l.Burst > 0 && !l.Enabled():
		k.add(key+".burst", faultf("add per_user or per_address beside it, such as per_address: 300/m", "limits nothing without a rate"))
	}
}
