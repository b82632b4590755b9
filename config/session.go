package config

import (
	"strings"
	"time"
)

// Session is how long sessions live and how the browser holds them.
type Session struct {
	// Idle ends a session not used for this long. Default 168h.
	Idle time.Duration `mapstructure:"idle"`
	// Absolute ends a session this long after login, whatever its use. Default 720h.
	Absolute time.Duration `mapstructure:"absolute"`
	// MaxPerUser is how many sessions a user may have. Default 20.
	MaxPerUser int `mapstructure:"max_per_user"`
	// AtLimit is evict_oldest or reject. Default evict_oldest.
	AtLimit string `mapstructure:"at_limit"`
	// CacheSize bounds what a replica keeps of sessions in memory, in bytes: what does not fit is asked for
	// again. Default 256MiB, some 130,000 sessions.
	CacheSize Size `mapstructure:"cache_size"`
	// Cookie is how the browser holds the token.
	Cookie Cookie `mapstructure:"cookie"`
	// Database is the application's own sessions table, read while migration.state is not done.
	Database SessionDatabase `mapstructure:"database"`
}

// DefaultCacheSize is the default of Session.CacheSize.
const DefaultCacheSize = 256 * MiB

// The values of Session.AtLimit.
const (
	EvictOldest = "evict_oldest"
	Reject      = "reject"
)

// Cookie is the gateway's cookie.
type Cookie struct {
	// Name; default __Host-gatehouse when Secure and without Domain, else gatehouse.
	// After [Load] it is never empty.
	Name string `mapstructure:"name"`
	// Secure keeps the cookie off plain http. Default true.
	Secure bool `mapstructure:"secure"`
	// SameSite is lax, strict or none. Default lax.
	SameSite string `mapstructure:"same_site"`
	// Domain widens the cookie to subdomains. Default: none, this host only.
	Domain string `mapstructure:"domain"`
}

// DefaultName is the name the cookie has when none is set: __Host-gatehouse when Secure and
// without Domain, so that no sibling domain can plant one (case S01), else gatehouse.
func (c Cookie) DefaultName() string {
	if c.Secure && c.Domain == "" {
		return "__Host-gatehouse"
	}
	return "gatehouse"
}

// The values of Cookie.SameSite.
const (
	SameSiteLax    = "lax"
	SameSiteStrict = "strict"
	SameSiteNone   = "none"
)

// Redis is the session store.
type Redis struct {
	// Addresses: one host:port, several of a Cluster, or the word embedded. Default 127.0.0.1:6379.
	// They count for nothing with Sentinel.
	Addresses []string `mapstructure:"addresses"`
	// Sentinel names the sentinels that know which Redis is the master, instead of Addresses. Default: none.
	Sentinel RedisSentinel `mapstructure:"sentinel"`
	// Username of an ACL user. Default: none.
	Username string `mapstructure:"username"`
	// Password, better given by PasswordFile or GATEHOUSE_REDIS_PASSWORD.
	Password Secret `mapstructure:"password"`
	// PasswordFile holds the password; a trailing line end is cut.
	PasswordFile string `mapstructure:"password_file" file:"true"`
	// DB is the database number. Default 0; a Cluster has only 0.
	DB int `mapstructure:"db"`
	// KeyPrefix stands before every key. Default: none. No braces.
	KeyPrefix string `mapstructure:"key_prefix"`
	// TLS encrypts the connection.
	TLS RedisTLS `mapstructure:"tls"`
	// Timeout bounds each command and dialling. Default 250ms.
	Timeout time.Duration `mapstructure:"timeout"`
}

// EmbeddedRedis is the word in Redis.Addresses for the store inside the process.
const EmbeddedRedis = "embedded"

// Embedded reports whether the store is the one inside the process, for trying out.
func (r Redis) Embedded() bool {
	return !r.Sentinel.Enabled() && len(r.Addresses) == 1 && r.Addresses[0] == EmbeddedRedis
}

// Where says, for logs and people, where the store is looked for: addresses, or a master by its sentinels.
func (r Redis) Where() string {
	if r.Sentinel.Enabled() {
		return "master " + r.Sentinel.Master + " by the sentinels " + strings.Join(r.Sentinel.Addresses, ", ")
	}
	return strings.Join(r.Addresses, ", ")
}

// RedisSentinel is how the master is found by Sentinel. TLS and timeout are those of Redis.
type RedisSentinel struct {
	// Master is the name the sentinels watch the master under. Default: none, no sentinel is asked.
	Master string `mapstructure:"master"`
	// Addresses of sentinels, host:port. The others are learned from them. Default: none.
	Addresses []string `mapstructure:"addresses"`
	// Username of an ACL user of the sentinels, which have users of their own. Default: none.
	Username string `mapstructure:"username"`
	// Password for the sentinels, better given by PasswordFile or GATEHOUSE_REDIS_SENTINEL_PASSWORD. Default:
	// none; that of Redis is never sent to them.
	Password Secret `mapstructure:"password"`
	// PasswordFile holds that password; a trailing line end is cut.
	PasswordFile string `mapstructure:"password_file" file:"true"`
}

// Enabled reports whether the master is found by sentinels.
func (s RedisSentinel) Enabled() bool { return s.Master != "" }

// RedisTLS is TLS towards Redis.
type RedisTLS struct {
	// Enabled turns TLS on. Default false.
	Enabled bool `mapstructure:"enabled"`
	// CAFile is a PEM file of authorities to trust instead of the system's. Default: the system's.
	CAFile string `mapstructure:"ca_file" file:"true"`
	// CertFile and KeyFile are the client certificate, both or none. Default: none.
	CertFile string `mapstructure:"cert_file" file:"true"`
	// KeyFile belongs to CertFile.
	KeyFile string `mapstructure:"key_file" file:"true"`
	// ServerName is the name Redis' certificate must bear. Default: the address's host.
	ServerName string `mapstructure:"server_name"`
}

// Outage is what happens while Redis is away.
type Outage struct {
	// ServeKnownFor is how long a session this replica has seen is served without Redis.
	// Default 60s; 0 turns it off.
	ServeKnownFor time.Duration `mapstructure:"serve_known_for"`
	// Login is refuse (503) or database: while migrating, new logins go into the database and are imported
	// when Redis is back. Default refuse.
	Login string `mapstructure:"login"`
}
