package proxy

import (
	"net/http"
	"strings"

	"gatehouse/config"
)

// Scrubber keeps the identity headers honest: it deletes from each request whatever the application
// could take for one, or for the word of a trusted proxy, it computes the real ones, and it removes
// them from answers. It is immutable and safe for concurrent use.
//
// The attack: PHP, WSGI and CGI hand headers over as variables, in which X-User-Id, X_User_Id and
// x-user.id all become HTTP_X_USER_ID. Deleting X-User-Id alone leaves the attacker's in place, and
// which of the two the application sees is a matter of chance (H02). So names are compared with
// everything but letters and digits folded into one separator.
type Scrubber struct {
	headers  []identityHeader
	owned    nameSet // identity headers
	denied   nameSet // identity headers and untrusted ones
	rewrites nameSet // headers that stand for another path
	private  nameSet // headers by which the application tells the gateway alone who has logged in
	allowed  map[string]bool
	response bool
}

// untrusted are the headers by which proxies tell things and which some applications believe (H04).
// None of them reaches the application as it was sent; X-Forwarded-* is matched as a whole.
var untrusted = []string{
	"Forwarded", "X-Forwarded", "X-Real-Ip",
	// Symfony, Laravel and IIS rewriting take path and method from these, past every rule.
	"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Rewrite-Uri", "X-Original-Host", "X-Original-Method",
	"X-Http-Method-Override", "X-Http-Method", "X-Method-Override",
	// The identity headers of other gateways, and CGI's own.
	"Remote-User", "X-Remote-User", "Remote-Email", "Remote-Groups", "Remote-Name",
	// CGI turns it into HTTP_PROXY, which HTTP clients obey ("httpoxy").
	"Proxy",
}

// rewriting are those of them by which some applications take another path than the request's.
var rewriting = []string{"X-Original-Url", "X-Original-Uri", "X-Rewrite-Url", "X-Rewrite-Uri"}

const forwardedPrefix = "x-forwarded-"

// NewScrubber takes the identity headers and the allow-list. A name on the allow-list that
// folds to an identity header or to an untrusted header is not allowed all the same. private are
// headers of answers that are for the gateway alone, whatever strip_response_headers says (I09).
func NewScrubber(headers []config.Header, requests config.Requests, private ...string) *Scrubber {
	s := &Scrubber{allowed: make(map[string]bool), response: requests.StripResponseHeaders}
	for _, h := range headers {
		s.headers = append(s.headers, newIdentityHeader(h))
		s.owned.add(h.Name)
		s.denied.add(h.Name)
	}
	for _, name := range untrusted {
		s.denied.add(name)
	}
	for _, name := range rewriting {
		s.rewrites.add(name)
	}
	for _, name := range private {
		s.private.add(name)
	}
	for _, name := range requests.AllowHeaders {
		s.allowed[http.CanonicalHeaderKey(name)] = true
	}
	return s
}

// Scrub deletes from a request's headers, in place: every identity header however it is spelled
// (H01, H02), every untrusted header (H04), and every name with characters outside [A-Za-z0-9-]
// that is not on the allow-list. When there is nothing to delete it allocates nothing.
func (s *Scrubber) Scrub(h http.Header) {
	for name := range h {
		if s.mustGo(name) {
			delete(h, name)
		}
	}
}

func (s *Scrubber) mustGo(name string) bool {
	if !isPlainName(name) && !s.allowed[http.CanonicalHeaderKey(name)] {
		return true
	}
	return s.denied.has(name) || hasForwardedPrefix(name)
}

// disguise says by which header a request that another server passes on would deceive the application, "" for none:
// one that reads like an identity header and is spelled otherwise, which that server deletes the real name of only (H02),
// or one by which frameworks take another path than the one that is judged (H04).
func (s *Scrubber) disguise(h http.Header) string {
	for name := range h {
		if s.owned.has(name) && !isPlainName(name) {
			return "a header that reads like an identity header, in another spelling"
		}
		if s.rewrites.has(name) {
			return "a header by which applications take another path, such as X-Original-Url"
		}
	}
	return ""
}

// StripResponse deletes identity headers, however spelled, from an answer's headers or trailers, in
// place (H11), unless strip_response_headers is off, and private ones always (I09).
func (s *Scrubber) StripResponse(h http.Header) {
	if !s.response && len(s.private.names) == 0 {
		return
	}
	for name := range h {
		if s.strips(name) {
			delete(h, name)
		}
	}
}

// StripTrailer is StripResponse for what the application sends after the body: h is the header map of
// the client's answer, in which trailers that were not announced stand under [http.TrailerPrefix]. They
// come when the header has long gone out, so nothing else in h matters any more (H08, I09).
func (s *Scrubber) StripTrailer(h http.Header) {
	for key := range h {
		if name := strings.TrimPrefix(key, http.TrailerPrefix); s.strips(name) || strings.EqualFold(name, "Set-Cookie") {
			delete(h, key)
		}
	}
}

func (s *Scrubber) strips(name string) bool {
	return s.response && s.owned.has(name) || s.private.has(name)
}

// isPlainName reports whether a name has letters, digits and hyphens only.
func isPlainName(name string) bool {
	for i := 0; i < len(name); i++ {
		if c := name[i]; foldNameByte(c) == '-' && c != '-' {
			return false
		}
	}
	return name != ""
}

func hasForwardedPrefix(name string) bool {
	if len(name) < len(forwardedPrefix) {
		return false
	}
	for i := range len(forwardedPrefix) {
		if foldNameByte(name[i]) != forwardedPrefix[i] {
			return false
		}
	}
	return true
}

// foldNameByte lower-cases letters and makes one separator of all that is no letter or digit.
func foldNameByte(c byte) byte {
	switch {
	case c >= 'A' && c <= 'Z':
		return c + ('a' - 'A')
	case c >= 'a' && c <= 'z', c >= '0' && c <= '9':
		return c
	}
	return '-'
}

// nameSet is a set of folded header names. first and lengths sort out nearly every other
// header before anything is folded.
type nameSet struct {
	names   map[string]bool
	first   [256]bool
	lengths [maxName + 1]bool
}

// maxName is the longest identity header's name, in bytes. Longer ones are compared in full.
const maxName = 128

func (n *nameSet) add(name string) {
	if name == "" {
		return
	}
	if n.names == nil {
		n.names = make(map[string]bool)
	}
	folded := foldName(name)
	n.names[folded], n.first[folded[0]], n.lengths[min(len(folded), maxName)] = true, true, true
}

func (n *nameSet) has(name string) bool {
	if name == "" || !n.first[foldNameByte(name[0])] || !n.lengths[min(len(name), maxName)] {
		return false
	}
	if len(name) > maxName {
		return n.names[foldName(name)]
	}
	var folded [maxName]byte
	for i := range len(name) {
		folded[i] = foldNameByte(name[i])
	}
	return n.names[string(folded[:len(name)])]
}

func foldName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		b.WriteByte(foldNameByte(name[i]))
	}
	return b.String()
}
