package config

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// finding is a fault at a key.
type finding struct {
	*fault
	Path string
}

// checker collects findings. Each section has its own check.
type checker struct {
	findings []finding
}

// add keeps a fault; nil is none, so that checks can be written as one call.
func (c *checker) add(path string, f *fault) {
	if f != nil {
		c.findings = append(c.findings, finding{f, path})
	}
}

// Validate checks a Config made by hand, as [Load] checks what it read. The error is an [*Errors].
func (c *Config) Validate() error {
	full := *c
	full.Rules = slices.Clone(c.Rules)
	full.Headers = slices.Clone(c.Headers)
	full.Hosts = slices.Clone(c.Hosts)
	full.TrustedOrigins = slices.Clone(c.TrustedOrigins)
	full.complete()
	var problems []Problem
	for _, f := range full.check() {
		problems = append(problems, Problem{Path: f.Path, Source: SourceFile, What: f.what, Fix: f.fix})
	}
	return errorsOf(problems)
}

// complete fills the defaults that depend on other keys or stand inside lists, and brings host
// names into the one form they are compared in.
func (c *Config) complete() {
	for i := range c.Rules {
		if c.Rules[i].Access == "" {
			c.Rules[i].Access = Protected
		}
	}
	for i := range c.Headers {
		if c.Headers[i].Encoding == "" {
			c.Headers[i].Encoding = EncodingPercent
		}
	}
	if c.Session.Database.Preset == "" {
		c.Session.Database.Preset = PresetTable
	}
	if c.Session.Cookie.Name == "" {
		c.Session.Cookie.Name = c.Session.Cookie.DefaultName()
	}
	for i, h := range c.Hosts {
		c.Hosts[i] = strings.TrimSuffix(strings.ToLower(h), ".")
	}
	for i, o := range c.TrustedOrigins {
		if u, f := parseOrigin(o, ""); f == nil {
			c.TrustedOrigins[i] = u.Scheme + "://" + withoutDefaultPort(u)
		}
	}
}

// check runs every section's checks.
func (c *Config) check() []finding {
	var k checker
	k.gateway(c)
	k.rules(c)
	k.login(c)
	k.session(c)
	k.redis(c.Redis)
	k.database(c)
	k.sessionDatabase(c)
	k.migration(c)
	k.headers(c)
	k.assertion(c)
	k.identitySecret(c.IdentitySecretHeader)
	k.bounds(c)
	k.securityHeaders("security_headers", c.SecurityHeaders, c.SecurityHeaders)
	k.connections(c.ConnectionLimits)
	k.requestLimits("request_limits", c.RequestLimits)
	return k.findings
}

// gateway checks where the gateway listens, what it trusts and where the application is.
func (k *checker) gateway(c *Config) {
	k.add("listen", checkAddress(c.Listen, 0, "127.0.0.1:8080"))
	for i, h := range c.Hosts {
		k.add(entry("hosts", i), checkPlainHost(h))
	}
	for i, p := range c.TrustedProxies {
		k.add(entry("trusted_proxies", i), checkTrusted(p))
	}
	for i, o := range c.TrustedOrigins {
		_, f := parseOrigin(o, "https://app.example.com")
		k.add(entry("trusted_origins", i), f)
	}
	if c.Upstream == nil {
		k.add("upstream", faultf("write where the application listens, such as upstream: http://127.0.0.1:3000", "is missing"))
	} else {
		k.add("upstream", checkNotItself(c.Upstream, c.Listen))
	}
	k.add("default", oneOf(string(c.Default), string(Public), string(Protected)))
	k.pair("tls", "cert_file", c.TLS.CertFile, "key_file", c.TLS.KeyFile)
	k.add("log.level", oneOf(c.Log.Level, "debug", "info", "warn", "error"))
	k.add("log.format", oneOf(c.Log.Format, "auto", "json", "console"))
	k.admin(c)
	k.verify(c)
	if len(c.Methods) == 0 {
		k.add("methods", faultf("list the methods, or delete the line for the default", "is empty, every request would be refused"))
	}
	for i, m := range c.Methods {
		k.add(entry("methods", i), checkMethod(m))
	}
}

// checkTrusted refuses ranges no set of proxies fills: whoever is inside may say from which
// address a request comes (case H04).
func checkTrusted(p netip.Prefix) *fault {
	const fix = "name the addresses of your proxies, such as 10.0.0.0/8 or 192.0.2.7/32"
	switch {
	case !p.IsValid():
		return faultf(fix, "is empty")
	case p.Bits() == 0:
		return faultf(fix, "%s is every address, any client could then claim any address", p)
	case p.Addr().Is4() && p.Bits() < 8, p.Addr().Is6() && p.Bits() < 7:
		return faultf(fix, "%s is so wide that strangers are inside, who could then claim any address", p)
	}
	return nil
}

func checkPlainHost(h string) *fault {
	if strings.Contains(h, "/") {
		return faultf("write the host name only, such as app.example.com", "%q is a URL or path", h)
	}
	if host, _, err := net.SplitHostPort(h); err == nil {
		return faultf("write "+host, "%q has a port", h)
	}
	return checkHost(h)
}

// checkNotItself finds the plainest loop: the application's address is the gateway's own (case X08
// catches the others at run time).
func checkNotItself(u *Upstream, listen string) *fault {
	host, port, err := net.SplitHostPort(listen)
	if err != nil || u.Socket != "" || u.URL == nil || port == "0" || u.URL.Port() != port {
		return nil
	}
	everywhere := host == "" || host == "0.0.0.0" || host == "::"
	if u.URL.Hostname() == host || (everywhere || loopback(host)) && loopback(u.URL.Hostname()) {
		return faultf("give the application's address, or another one to listen", "%s is the gateway's own address", u)
	}
	return nil
}

func checkMethod(m string) *fault {
	switch upper := strings.ToUpper(m); {
	case !token(m):
		return faultf("write a method such as GET", "%q is not a request method", m)
	case upper != m:
		return faultf("write "+upper, "%q is not in capitals, as methods are", m)
	case m == "CONNECT":
		return faultf("delete it", "CONNECT makes a tunnel in which no request is judged")
	case m == "TRACE":
		return faultf("delete it", "TRACE shows the cookies and identity headers of a request")
	}
	return nil
}

// pair wants both of two files or none.
func (k *checker) pair(section, aName, a, bName, b string) {
	if a == "" && b != "" {
		k.add(section+"."+aName, faultf("name it, or delete "+bName, "is missing, but %s is set", bName))
	}
	if a != "" && b == "" {
		k.add(section+"."+bName, faultf("name it, or delete "+aName, "is missing, but %s is set", aName))
	}
}

// bounds checks sizes and times of requests.
func (k *checker) bounds(c *Config) {
	if c.Limits.MaxBody < 0 {
		k.add("limits.max_body", faultf("write a size such as 1GiB, or 0 for no limit", "is negative"))
	}
	k.positive("limits.max_header_bytes", int64(c.Limits.MaxHeaderBytes), "64KiB")
	k.positive("limits.max_header_lines", int64(c.Limits.MaxHeaderLines), "200")
	k.positive("limits.max_cookies", int64(c.Limits.MaxCookies), "1000")
	k.positive("limits.max_uri", int64(c.Limits.MaxURI), "8KiB")
	k.lasting("timeouts.read_header", c.Timeouts.ReadHeader, "10s")
	k.lasting("timeouts.body", c.Timeouts.Body, "60s")
	k.lasting("timeouts.idle", c.Timeouts.Idle, "120s")
	k.lasting("timeouts.connect", c.Timeouts.Connect, "5s")
	k.lasting("timeouts.response_header", c.Timeouts.ResponseHeader, "60s")
	k.lasting("timeouts.upstream_idle", c.Timeouts.UpstreamIdle, "4s")
	if c.ShutdownDelay < 0 {
		k.add("shutdown_delay", faultf("write a time such as 5s, or 0 for none", "is negative"))
	}
	k.lasting("shutdown_timeout", c.ShutdownTimeout, "30s")
	if c.Outage.ServeKnownFor < 0 {
		k.add("outage.serve_known_for", faultf("write 60s, or 0 to turn it off", "is negative"))
	}
}

// positive wants more than nothing.
func (k *checker) positive(path string, n int64, example string) {
	if n <= 0 {
		k.add(path, faultf("write at least 1, such as "+example, "%d lets nothing through", n))
	}
}

// lasting wants a time that is not over at once. "No limit" is not offered: a peer that never
// answers would hold its connection for ever.
func (k *checker) lasting(path string, d time.Duration, example string) {
	if d <= 0 {
		k.add(path, faultf("write a time such as "+example, "%s is over at once", formatDuration(d)))
	}
}
