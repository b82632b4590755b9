package config

import (
	"strings"
)

// Attributes are the values of Header.Value: what of a session an identity header can carry.
func Attributes() []string {
	return []string{"userId", "email", "name", "role", "emailVerified", "sessionId", "createdAt", "expiresAt"}
}

// reserved are the headers the gateway or the protocol needs itself, folded.
var reserved = map[string]bool{
	"host": true, "cookie": true, "setcookie": true, "connection": true, "contentlength": true,
	"transferencoding": true, "forwarded": true, "keepalive": true, "te": true, "trailer": true, "upgrade": true,
	"expect": true, "proxyconnection": true, "contenttype": true, "contentencoding": true, "origin": true,
	"xrequestid": true, "http2settings": true,
}

// foldHeader makes X-User-Id, x_user_id and X.User.Id one name, as the applications that read
// them from CGI-like variables do (case H02).
func foldHeader(name string) string {
	return strings.Map(func(r rune) rune {
		if !isAlnum(r) {
			return -1
		}
		return r
	}, strings.ToLower(name))
}

// headers checks the identity headers and the exceptions for oddly named ones.
func (k *checker) headers(c *Config) {
	owned := map[string]string{}
	for i, h := range c.Headers {
		key := entry("headers", i)
		k.add(key+".name", checkHeaderName(h.Name, owned))
		owned[foldHeader(h.Name)] = h.Name
		if h.Value == "" {
			k.add(key+".value", faultf("write one of "+orList(Attributes()), "is missing"))
		} else {
			k.add(key+".value", oneOf(h.Value, Attributes()...))
		}
		k.add(key+".encoding", oneOf(h.Encoding, EncodingPercent, EncodingRawUTF8))
	}
	k.ownHeaders(c, owned)
	for i, name := range c.Requests.AllowHeaders {
		key := entry("requests.allow_headers", i)
		if !token(name) {
			k.add(key, faultf("write a header name such as X_Legacy_Token", "%q is not a header name", name))
		} else if own, ok := owned[foldHeader(name)]; ok {
			k.add(key, faultf("delete it", "%q reads like the identity header %s, which no client may send", name, own))
		} else if isReserved(name) {
			k.add(key, faultf("delete it", "%q reads like a header the gateway sets itself", name))
		}
	}
}

func isReserved(name string) bool {
	folded := foldHeader(name)
	return reserved[folded] || strings.HasPrefix(folded, "xforwarded")
}

func checkHeaderName(name string, owned map[string]string) *fault {
	const fix = "write letters, digits and hyphens, such as X-User-Id"
	switch {
	case name == "":
		return faultf(fix, "is missing")
	case strings.ContainsFunc(name, func(r rune) bool { return !isAlnum(r) && r != '-' }) || foldHeader(name) == "":
		// An underscore and a hyphen are one to many applications, so only one is let through.
		return faultf(fix, "%q is not a name that all applications read alike", name)
	case isReserved(name):
		return faultf("choose another name, such as X-User-Id", "%q is needed by the gateway or the protocol itself", name)
	}
	if first, ok := owned[foldHeader(name)]; ok {
		return faultf("delete one of them", "%q stands twice, applications read it like %q", name, first)
	}
	return nil
}
