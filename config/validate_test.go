package config_test

import (
	"errors"
	"net/netip"
	"net/url"
	"testing"

	"gatehouse/config"
)

// valid is a Config made by hand.
func valid() *config.Config {
	c := config.Default()
	c.Upstream = &config.Upstream{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:3000"}}
	return c
}

func TestValidateByHand(t *testing.T) {
	t.Parallel()
	if err := valid().Validate(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path   string
		change func(*config.Config)
	}{
		{"upstream", func(c *config.Config) { c.Upstream = nil }},
		{"trusted_proxies[0]", func(c *config.Config) { c.TrustedProxies = make([]netip.Prefix, 1) }},
		{"limits.max_body", func(c *config.Config) { c.Limits.MaxBody = -1 }},
		{"outage.serve_known_for", func(c *config.Config) { c.Outage.ServeKnownFor = -1 }},
		{"login.limits.per_account", func(c *config.Config) { c.Login.Limits.PerAccount = config.Rate{} }},
		{"timeouts.read_header", func(c *config.Config) { c.Timeouts.ReadHeader = 0 }},
		{"timeouts.body", func(c *config.Config) { c.Timeouts.Body = 0 }},
		{"timeouts.idle", func(c *config.Config) { c.Timeouts.Idle = 0 }},
		{"timeouts.response_header", func(c *config.Config) { c.Timeouts.ResponseHeader = 0 }},
		{"timeouts.upstream_idle", func(c *config.Config) { c.Timeouts.UpstreamIdle = 0 }},
		{"limits.max_uri", func(c *config.Config) { c.Limits.MaxURI = 0 }},
		{"rules[0].path", func(c *config.Config) { c.Rules = []config.Rule{{Path: "admin"}} }},
		{"session.cookie.name", func(c *config.Config) { c.Session.Cookie.Name, c.Session.Cookie.Secure = "__HOST-x", false }},
	} {
		t.Run(c.path, func(t *testing.T) {
			t.Parallel()
			broken := valid()
			c.change(broken)
			var e *config.Errors
			if err := broken.Validate(); !errors.As(err, &e) || len(e.Problems) != 1 || e.Problems[0].Path != c.path {
				t.Errorf("got %v", err)
			}
		})
	}
}

// Validate judges, it does not change.
func TestValidateChangesNothing(t *testing.T) {
	t.Parallel()
	c := valid()
	c.Rules = []config.Rule{{Path: "/a"}}
	c.Hosts = []string{"A.example."}
	c.TrustedOrigins = []string{"https://A.example:443"}
	before := dump(c)
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	if after := dump(c); after != before {
		t.Errorf("\n got %s\nwant %s", after, before)
	}
}

// What is right is not refused: the paths, names and addresses people really have.
func TestAccepted(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"rules: [{path: /$metadata}, {path: /a.b/c}, {path: '/a b'}, {path: /.well-known}, {path: /~bob}, {path: '/@me'}, {path: '/a:b'}, {path: /a+b}]",
		"rules: [{path: /A, roles: [x]}, {path: /a, roles: [x], upstream: 'http://b:1'}]",
		"rules: [{path: /admin}, {path: /admin/health, access: public}]",
		"hosts: [localhost, my_app, 10.0.0.1, '::1', app.example.com]",
		"listen: '[::1]:80'", "listen: ':80'", "listen: localhost:0",
		"trusted_proxies: [fc00::/7, 10.0.0.0/8, 203.0.113.9]",
		"admin: {listen: localhost:9090}", "admin: {listen: '127.0.0.53:1'}",
		"public_url: http://localhost:8080", "public_url: http://app.example.com\nsession: {cookie: {secure: false}}",
		"public_url: https://app.example.com\nsession: {cookie: {domain: Example.com}}",
		"session: {cookie: {same_site: none}}", "session: {idle: 1s, absolute: 1s}",
		"session: {cookie: {name: __Secure-x, domain: example.com}}",
		"redis: {addresses: ['redis-0.redis:6379'], timeout: 10ms, db: 15}", "redis: {sentinel: {master: my-master.1_a, addresses: ['s:26379', '[::1]:26379'], username: u, password: p}, db: 3}",
		"redis: {addresses: ['127.0.0.1:6379'], sentinel: {master: m, addresses: ['s:26379']}}", "redis: {timeout: 30s}",
		"methods: [GET, PROPFIND, M-SEARCH]", "headers: [{name: Authorization, value: sessionId}]",
		"listen: 127.0.0.1:3001", "limits: {max_body: 4096, max_header_bytes: 1 MiB}",
		"session: {idle: &i 1h}", "log: {\"level\": \"debug\"}", "pages: {title: 2024-01-01}", "redis: {username: 1e3}",
	} {
		mustLoad(t, minimal+text+"\n")
	}
	mustLoad(t, "upstream: http://my_app:3000/")
	mustLoad(t, "\ufeffupstream: http://[::1]:3000")
	mustLoad(t, `{"upstream": "https://app.example.com"}`)
}
