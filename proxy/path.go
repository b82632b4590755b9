package proxy

import (
	"net/http"
	"strings"
)

// Path is a request target that has been judged: it has one meaning, or its several readings can
// be enumerated and are all looked at by [Rules.Decide]. Only [JudgeTarget] makes one.
//
// The attack behind it: gateway and application are two programs that each turn the same bytes into
// a path. Wherever they differ, /public/..%2fadmin is public to one and the admin page to the other.
// So what can be read in two ways is refused, what is ordinary is passed on byte for byte, and what
// lies between (case, path parameters, format suffixes) is decided by its strictest reading.
type Path struct {
	// Raw is the path exactly as received. It is what the application gets (P13).
	Raw string
	// Match is Raw percent-decoded once, with runs of slashes collapsed: what rules match on. In an
	// Encoded path %2F and %25 are still encoded here, since they are part of a segment.
	Match string
	// Query is what follows the first ?, byte for byte. It never takes part in a decision (P08, P11).
	Query string
	// Host is the authority of a target in absolute-form, empty for all others.
	Host string
	// Encoded reports %2F or %25 in the path; such a path passes only where a rule opts in (P02).
	Encoded bool
	// Asterisk marks OPTIONS *, which the gateway answers itself (P10).
	Asterisk bool

	// target is path and query as received: what is forwarded.
	target string
	// plain is Match with its runs of slashes, for readers that do not collapse them.
	plain string
	// literal is how far plain is spelled as usual: up to there no character is percent-encoded that
	// need not be.
	literal int
}

// Refusal is a request that is not passed on.
type Refusal struct {
	// Status for the client: 400 or 405.
	Status int
	// Reason for the log. It holds nothing the client sent.
	Reason string
}

// Error makes a Refusal usable as an error.
func (r *Refusal) Error() string { return r.Reason }

func refuse(reason string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Reason: reason}
}

// AllowsMethod reports whether a request method is among the allowed ones, case-sensitively as
// RFC 9110, 9.1 has it: to some applications `get` is GET, to others something to fall through on.
// CONNECT would turn the gateway into a tunnel and TRACE would echo the identity headers to the
// client: neither passes, allowed or not (P04).
func AllowsMethod(allowed []string, method string) bool {
	if method == http.MethodConnect || method == http.MethodTrace {
		return false
	}
	for _, m := range allowed {
		if m == method {
			return true
		}
	}
	return false
}

// JudgeTarget judges a request target as it came in: the target of an HTTP/1.1 request line, or
// the :path of HTTP/2. The method matters only for `*`. Every refusal is a 400 (P01 to P10).
//
// Decided here, beyond the cases:
//   - Raw bytes above 0x7f in the path are refused. No browser sends them, and servers disagree on
//     their charset. Percent-encoded UTF-8 passes. In the query they pass: it decides nothing.
//   - %23 and %3F pass, /tagged/c%23 is an ordinary URL. A server that decodes first and cuts
//     at # afterwards reads a shorter path, which the rules take into account (readings.go).
//   - Raw | ^ [ ] { } " < > and ` pass, and are forwarded as they are: browsers send some of them.
//   - A segment of dots and blanks only is a dot segment to Windows, whatever its length.
func JudgeTarget(method, target string) (Path, *Refusal) {
	if target == "*" {
		if method != http.MethodOptions {
			return Path{}, refuse("target * with a method other than OPTIONS")
		}
		return Path{Raw: "*", Match: "*", Asterisk: true, target: "*"}, nil
	}
	var p Path
	if target == "" || target[0] != '/' {
		var no *Refusal
		if p.Host, target, no = cutAuthority(target); no != nil {
			return Path{}, no
		}
	}
	p.Raw, p.target = target, target
	if i := strings.IndexByte(target, '?'); i >= 0 {
		p.Raw, p.Query = target[:i], target[i+1:]
		if no := judgeQuery(p.Query); no != nil {
			return Path{}, no
		}
	}
	if no := p.judge(); no != nil {
		return Path{}, no
	}
	return p, nil
}

// cutAuthority takes an absolute-form target apart. The other forms are refused: in x:http://a/admin
// and x:%2fadmin Go finds no path at all and forwards what it found instead (P01).
func cutAuthority(target string) (host, origin string, no *Refusal) {
	scheme, rest, ok := strings.Cut(target, "://")
	if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", "", refuse("target is neither a path nor an http URL")
	}
	slash := strings.IndexAny(rest, "/?#\\")
	if slash < 0 || rest[slash] != '/' {
		return "", "", refuse("target has no path")
	}
	host, origin = rest[:slash], rest[slash:]
	if strings.Contains(host, "@") {
		return "", "", refuse("user information in target")
	}
	if _, ok := FoldHost(host); !ok {
		return "", "", refuse("malformed host in target")
	}
	return host, origin, nil
}

// judgeQuery refuses only what would not survive on the request line of HTTP/1.1: a space in an
// HTTP/2 :path would end the target there. A # is refused because some servers would let it begin
// a fragment.
func judgeQuery(query string) *Refusal {
	for i := 0; i < len(query); i++ {
		if c := query[i]; c <= ' ' || c == 0x7f || c == '#' {
			return refuse("control character, space or # in query")
		}
	}
	return nil
}

// judge fills in Match and Encoded, or refuses Raw. A path of plain bytes costs one pass and no
// allocation.
func (p *Path) judge() *Refusal {
	if strings.HasPrefix(p.Raw, "//") {
		// To a URL parser //admin/x is the host admin with the path /x (P03).
		return refuse("path begins with //")
	}
	marks := scanRaw(p.Raw)
	if marks&markForbidden != 0 {
		return refuse("forbidden character in path")
	}
	p.plain, p.literal = p.Raw, len(p.Raw)
	if marks&markPercent != 0 {
		if no := p.decode(); no != nil {
			return no
		}
	}
	if marks&(markPercent|markSegment) != 0 {
		if no := judgeSegments(p.plain); no != nil {
			return no
		}
	}
	if p.Encoded {
		// Whatever a rule opts in to, it is not /public/..%2fadmin (P02).
		if no := judgeSegments(decodeLoosely(p.plain)); no != nil {
			return no
		}
	}
	p.Match = p.plain
	if marks&markSlashes != 0 {
		p.Match = collapseSlashes(p.plain)
	}
	return nil
}
