// Package config holds Gatehouse's settings as typed sections, loads them from a
// YAML file and the environment, and says everything that is wrong with them at once.
//
// It imports no other package of Gatehouse. Every value is parsed here, once:
// the rest of the program sees durations, byte counts, prefixes and URLs, no strings
// that still need reading.
package config

import (
	"net/netip"
	"net/url"
	"time"
)

// Config is the whole file. The zero value is not usable: start from [Default] or [Load].
type Config struct {
	// Listen is the address the gateway accepts connections on. Default 127.0.0.1:8080.
	// Port 0 picks a free one.
	Listen string `mapstructure:"listen"`
	// PublicURL is the origin people type, scheme and host only. It is used for redirects
	// and origin checks. Default: none, the origin is taken from each request.
	PublicURL *url.URL `mapstructure:"public_url"`
	// Hosts are the host names answered, without port; any other gets 421.
	// Default: empty, every host is answered.
	Hosts []string `mapstructure:"hosts"`
	// TrustedProxies are the peers whose X-Forwarded-* headers and request id are believed.
	// Default: none. A catch-all (/0) is refused.
	TrustedProxies []netip.Prefix `mapstructure:"trusted_proxies"`
	// TrustedOrigins are further origins (scheme://host[:port]) that may open WebSockets and
	// post to login and logout. Default: none; the request's own origin always may.
	TrustedOrigins []string `mapstructure:"trusted_origins"`
	// Upstream is the application: http, https, h2c, h2 or unix:/path. Required.
	Upstream *Upstream `mapstructure:"upstream"`
	// UpstreamTLS says how an https or h2 upstream is verified.
	UpstreamTLS UpstreamTLS `mapstructure:"upstream_tls"`
	// Default is the access of paths no rule names. Default protected.
	Default Access `mapstructure:"default"`
	// Rules map path prefixes to who may pass. The longest prefix wins.
	Rules []Rule `mapstructure:"rules"`
	// Methods are the request methods answered; others get 405.
	// Default GET HEAD POST PUT PATCH DELETE OPTIONS.
	Methods []string `mapstructure:"methods"`

	// Login says how people log in and out.
	Login Login `mapstructure:"login"`
	// Session says how long sessions live and how the browser holds them.
	Session Session `mapstructure:"session"`
	// Redis is the session store.
	Redis Redis `mapstructure:"redis"`
	// Database is the application's own database. Default: none.
	Database Database `mapstructure:"database"`
	// Migration moves sessions from the application's table to Redis.
	Migration Migration `mapstructure:"migration"`
	// Outage is what happens while Redis is away.
	Outage Outage `mapstructure:"outage"`
	// Headers are the identity headers the application gets. Default: X-User-Id, X-User-Email,
	// X-User-Name, X-User-Role and X-User-Email-Verified. An empty list ([]) means none.
	Headers []Header `mapstructure:"headers"`
	// Assertion is the signed form of the identity headers. Default: none.
	Assertion Assertion `mapstructure:"assertion"`
	// IdentitySecretHeader tells the application that a request has come through the gateway. Default: none.
	IdentitySecretHeader IdentitySecretHeader `mapstructure:"identity_secret_header"`
	// Requests is what is done to every request and response that passes.
	Requests Requests `mapstructure:"requests"`
	// SecurityHeaders are added to the application's answers. Default: none.
	SecurityHeaders SecurityHeaders `mapstructure:"security_headers"`
	// Limits bound one request.
	Limits Limits `mapstructure:"limits"`
	// ConnectionLimits bound the connections of clients.
	ConnectionLimits ConnectionLimits `mapstructure:"connection_limits"`
	// RequestLimits bound the requests of one user and of one address. Default: none. A rule with limits of its own does not
	// count here.
	RequestLimits RequestLimits `mapstructure:"request_limits"`
	// Timeouts bound waiting.
	Timeouts Timeouts `mapstructure:"timeouts"`
	// TLS makes the gateway itself answer https.
	TLS TLS `mapstructure:"tls"`
	// Verify answers web servers that ask about each request.
	Verify Verify `mapstructure:"verify"`
	// Pages are the pages people see.
	Pages Pages `mapstructure:"pages"`
	// Admin is the operator's listener.
	Admin Admin `mapstructure:"admin"`
	// Log is what is written to standard error.
	Log Log `mapstructure:"log"`

	// ShutdownDelay is how long after SIGTERM connections are still accepted while readyz says 503, so
	// that a load balancer stops sending them. Default 0: no wait.
	ShutdownDelay time.Duration `mapstructure:"shutdown_delay"`
	// ShutdownTimeout bounds the end of running requests after SIGTERM. Default 30s.
	ShutdownTimeout time.Duration `mapstructure:"shutdown_timeout"`
}

// Access says whether a path needs a session.
type Access string

const (
	// Public paths are passed on with or without a session.
	Public Access = "public"
	// Protected paths need a session.
	Protected Access = "protected"
)

// Upstream is where the application listens.
type Upstream struct {
	// URL is http://host[:port] or https://host[:port]. For a unix socket it is
	// http://localhost and Socket holds the path. It has no path, query or user.
	URL *url.URL
	// Socket is the path of a unix socket, empty for TCP.
	Socket string
	// HTTP2 has the gateway speak HTTP/2 to the application and nothing else, as gRPC needs: written h2c://host
	// for HTTP/2 without TLS and without asking first (prior knowledge: RFC 9113, 3.3), h2://host for HTTP/2
	// over TLS, which the application must choose by ALPN. Default: HTTP/1.1.
	HTTP2 bool
}

// String gives the form that stands in the file.
func (u *Upstream) String() string {
	switch {
	case u == nil:
		return ""
	case u.Socket != "":
		return "unix:" + u.Socket
	case u.HTTP2 && u.URL.Scheme == "https":
		return "h2://" + u.URL.Host
	case u.HTTP2:
		return "h2c://" + u.URL.Host
	default:
		return u.URL.String()
	}
}

// UpstreamTLS verifies an https or h2 upstream.
type UpstreamTLS struct {
	// CAFile is a PEM file of authorities to trust instead of the system's. Default: the system's.
	CAFile string `mapstructure:"ca_file" file:"true"`
	// ServerName is the name the certificate must bear. Default: the upstream's host.
	ServerName string `mapstructure:"server_name"`
}

// Rule says who may pass under one path prefix.
type Rule struct {
	// Path is the prefix, whole segments: /admin covers /admin and /admin/x, not /administrator.
	Path string `mapstructure:"path"`
	// Access is protected by default.
	Access Access `mapstructure:"access"`
	// Roles that may pass; the session's role must equal one of them. Default: every logged-in user.
	Roles []string `mapstructure:"roles"`
	// Upstream for this prefix. Default: the top-level one.
	Upstream *Upstream `mapstructure:"upstream"`
	// Unauthenticated is what a request without a session gets: json (401) or redirect (303 to login).
	// Default: empty, decided by what the client accepts.
	Unauthenticated string `mapstructure:"unauthenticated"`
	// WebSocket allows the WebSocket upgrade. Default true.
	WebSocket *bool `mapstructure:"websocket"`
	// EncodedSlashes allows %2F and %25 below this prefix, for applications that put
	// file names into one path segment. Default false: such paths get 400.
	EncodedSlashes bool `mapstructure:"encoded_slashes"`
	// MaxBody is the largest request body here, instead of limits.max_body: for uploads under one prefix. 0 = no limit.
	// Default: limits.max_body.
	MaxBody *Size `mapstructure:"max_body"`
	// RequestLimits are this prefix's own. They replace the top-level ones as a whole and are counted apart from them; an empty
	// section ({}) means none. Default: the top-level ones, together with all other paths that have none of their own.
	RequestLimits *RequestLimits `mapstructure:"request_limits"`
	// SecurityHeaders of this prefix, laid over the top-level ones key by key. Default: the top-level ones.
	SecurityHeaders *SecurityHeaders `mapstructure:"security_headers"`
}

// The values of Rule.Unauthenticated; empty means: by what the client accepts.
const (
	AnswerJSON     = "json"
	AnswerRedirect = "redirect"
)

// AllowsWebSocket reports whether the rule lets a WebSocket handshake through.
func (r Rule) AllowsWebSocket() bool { return r.WebSocket == nil || *r.WebSocket }

// Header is one identity header.
type Header struct {
	// Name of the header the application reads.
	Name string `mapstructure:"name"`
	// Value is the session attribute: userId, email, name, role, emailVerified, sessionId,
	// createdAt or expiresAt.
	Value string `mapstructure:"value"`
	// Encoding is percent (UTF-8, everything but printable ASCII percent-encoded) or raw-utf8. Default percent.
	Encoding string `mapstructure:"encoding"`
}

// The values of Header.Encoding.
const (
	EncodingPercent = "percent"
	EncodingRawUTF8 = "raw-utf8"
)

// Requests is what is done to every request and response that passes.
type Requests struct {
	// AllowHeaders are header names with characters outside [A-Za-z0-9-] that are passed on
	// all the same. Default: none. An identity header's name, however spelled, is never passed.
	AllowHeaders []string `mapstructure:"allow_headers"`
	// StripResponseHeaders removes identity headers from the application's answers. Default true.
	StripResponseHeaders bool `mapstructure:"strip_response_headers"`
}

// Limits bound one request.
type Limits struct {
	// MaxBody is the largest request body; more gets 413. Default 1GiB, 0 = no limit.
	MaxBody Size `mapstructure:"max_body"`
	// MaxHeaderBytes is the size of a request's header block; more gets 431. Default 64KiB.
	MaxHeaderBytes Size `mapstructure:"max_header_bytes"`
	// MaxHeaderLines is the number of header lines; more gets 431. Default 200.
	MaxHeaderLines int `mapstructure:"max_header_lines"`
	// MaxCookies is the number of cookies in a request; more gets 431. Default 1000: browsers keep some hundred of
	// a site at most, and applications in Go see none at all of more than 3000.
	MaxCookies int `mapstructure:"max_cookies"`
	// MaxURI is the length of the request target; more gets 414. Default 8KiB.
	MaxURI Size `mapstructure:"max_uri"`
}

// Timeouts bound waiting. Streams that make progress are never cut.
type Timeouts struct {
	// ReadHeader bounds the arrival of a request's header. Default 10s.
	ReadHeader time.Duration `mapstructure:"read_header"`
	// Body bounds the wait for the next piece of a body, in either direction. Default 60s. Not that for the next message
	// of a gRPC call at an HTTP/2 upstream: either side of a conversation may be silent.
	Body time.Duration `mapstructure:"body"`
	// Idle bounds the wait for the next request on a connection. Default 120s.
	Idle time.Duration `mapstructure:"idle"`
	// Connect bounds dialling the application. Default 5s.
	Connect time.Duration `mapstructure:"connect"`
	// ResponseHeader bounds the wait for the application's response header; then 504. Default 60s. Not that of a gRPC
	// call at an HTTP/2 upstream, where the header often comes with the first message.
	ResponseHeader time.Duration `mapstructure:"response_header"`
	// UpstreamIdle is how long an unused connection to the application is kept. Default 4s: less than the
	// 5s after which Node and Apache close theirs. A request that is sent on a connection the application is just
	// closing gets 502, and is not repeated: it may have been carried out.
	UpstreamIdle time.Duration `mapstructure:"upstream_idle"`
}

// TLS makes the gateway answer https (HTTP/1.1 and HTTP/2). Both files are read again when they change.
type TLS struct {
	// CertFile is a PEM file, the certificate first and then its chain. Default: none, plain http.
	CertFile string `mapstructure:"cert_file" file:"true"`
	// KeyFile is the PEM file of CertFile's private key; both or none.
	KeyFile string `mapstructure:"key_file" file:"true"`
}

// Enabled reports whether the listener speaks TLS.
func (t TLS) Enabled() bool { return t.CertFile != "" }

// Pages are the pages people see.
type Pages struct {
	// Templates is a folder whose files replace the embedded pages of the same name. Default: none.
	Templates string `mapstructure:"templates" file:"true"`
	// Title names the application on the pages. Default: the host people typed.
	Title string `mapstructure:"title"`
}

// Admin is the operator's listener: /metrics, /debug/pprof and the admin API.
type Admin struct {
	// Listen address; other than loopback only with a token. Default: none, there is no such listener.
	Listen string `mapstructure:"listen"`
	// Token that every request on this listener must bear, at least MinAdminToken characters, better given by
	// TokenFile or GATEHOUSE_ADMIN_TOKEN. Spaces around it do not count. Default: none, then metrics and profiles need none
	// and the admin API is closed.
	Token Secret `mapstructure:"token"`
	// TokenFile holds the token. It is read again when it changes.
	TokenFile string `mapstructure:"token_file" file:"true"`
}

// MinAdminToken is the shortest admin token, in characters: 128 bits as hexadecimal digits.
const MinAdminToken = 32

// Log is what is written to standard error.
type Log struct {
	// Level is debug, info, warn or error. Default info.
	Level string `mapstructure:"level"`
	// Format is json, console or auto (console on a terminal). Default auto.
	Format string `mapstructure:"format"`
}
