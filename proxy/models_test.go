package proxy

import (
	"path"
	"strings"

	"golang.org/x/text/unicode/norm"
)

// model is how one kind of server reads a request path: the path it routes on, and how it compares
// that with its own routes. They are simple and err on the side of the attacker: what a server does
// only in some version or setting, the model does always.
type model struct {
	name string
	// readings gives the paths the server may route on.
	readings func(q request) readings
	// anyCase: routes are compared without regard to case. suffix: a route answers for /route.ext too.
	anyCase, suffix bool
}

// request is a path as sent, and decoded once, which most models want.
type request struct{ raw, decoded string }

func newRequest(raw string) request { return request{raw, unescapeOnce(raw)} }

// decode decodes what a model has made of raw, mostly raw itself.
func (q *request) decode(s string) string {
	if s == q.raw {
		return q.decoded
	}
	return unescapeOnce(s)
}

// readings are up to three paths; empty ones do not count. A server that refuses has none.
type readings [3]string

// models are the servers of case P14.
var models = []model{
	{name: "nginx", readings: func(q request) readings {
		return readings{dots(slashes(q.decoded))}
	}},
	{name: "nginx, alias without slash", readings: func(q request) readings {
		// location /files { alias files/; } makes files/../admin of /files../admin.
		return readings{dots(strings.ReplaceAll(dots(slashes(q.decoded)), "../", "/../"))}
	}},
	{name: "Apache", readings: func(q request) readings {
		if p := strings.ToLower(q.raw); strings.Contains(p, "%2f") || strings.Contains(p, "%5c") || strings.Contains(p, "%00") {
			return readings{} // AllowEncodedSlashes Off
		}
		p := dots(slashes(q.decoded))
		return readings{p, pathInfo(p), pathInfo(strings.Replace(p, "/index/", "/index.php/", 1))} // the last: MultiViews
	}},
	{name: "PHP built-in server", readings: func(q request) readings {
		p := cString(q.decoded)
		return readings{dots(p), pathInfo(p), besideScript(p)}
	}},
	{name: "PHP router on urldecode", readings: func(q request) readings {
		p := strings.Trim(q.decode(strings.ReplaceAll(q.raw, "+", " ")), " \t\n\r\x00")
		return readings{"/" + strings.Trim(p, "/ ")}
	}},
	{name: "Node URL", readings: func(q request) readings {
		// WHATWG: backslash is a slash, tabs and line breaks vanish, %2e is a dot in dot segments.
		p := dots(whatwg.Replace(before(q.raw, "#")))
		return readings{p, q.decode(p)}
	}},
	{name: "Express", anyCase: true, readings: func(q request) readings {
		return readings{strings.TrimSuffix(q.raw, "/"), strings.TrimSuffix(q.decoded, "/")}
	}},
	{name: "WSGI, Django", readings: func(q request) readings {
		p := q.decode(before(q.raw, "?"))
		return readings{p, slashes(p), slashes(before(p, ";"))}
	}},
	{name: "Rack, Rails", suffix: true, readings: func(q request) readings {
		return readings{strings.TrimSuffix(slashes(q.decoded), "/")}
	}},
	{name: "Tomcat", readings: func(q request) readings {
		return readings{dots(slashes(strings.ReplaceAll(q.decode(cutParameters(q.raw)), "\\", "/")))}
	}},
	{name: "Spring", suffix: true, readings: func(q request) readings {
		p := slashes(cutParameters(q.decode(cutParameters(q.raw))))
		return readings{strings.TrimSuffix(p, "/"), dots(p)}
	}},
	{name: "Jetty, WebLogic", readings: func(q request) readings {
		return readings{dots(q.decode(before(q.raw, ";"))), dots(slashes(before(q.decoded, ";")))}
	}},
	{name: "IIS, ASP.NET", anyCase: true, readings: func(q request) readings {
		p := strings.ReplaceAll(unescapeOnce(q.decoded), "\\", "/")
		return readings{windows(p)}
	}},
	{name: "Go ServeMux", readings: func(q request) readings {
		return readings{path.Clean("/" + q.decoded)}
	}},
	{name: "lighttpd, CGI", anyCase: true, readings: func(q request) readings {
		p := cString(dots(slashes(q.decoded)))
		return readings{p, pathInfo(p), besideScript(p)}
	}},
	{name: "decodes until nothing is left", readings: func(q request) readings {
		p := q.decoded
		for strings.IndexByte(p, '%') >= 0 && unescapeOnce(p) != p {
			p = unescapeOnce(p)
		}
		return readings{dots(slashes(p))}
	}},
	{name: "Python urllib", readings: func(q request) readings {
		p := q.decoded
		if strings.HasPrefix(p, "//") { // scheme-relative: the first segment is a host
			_, p, _ = strings.Cut(p[2:], "/")
			p = "/" + p
		}
		p = before(before(p, "#"), "?")
		if i := strings.LastIndexByte(p, '/'); i >= 0 {
			p = p[:i] + before(p[i:], ";")
		}
		return readings{dots(p)}
	}},
	{name: "normalises Unicode", anyCase: true, readings: func(q request) readings {
		p := norm.NFKC.String(q.decoded)
		return readings{dots(slashes(invisible.Replace(p)))}
	}},
	{name: "lower-cases to ASCII", readings: func(q request) readings {
		return readings{strings.ToLower(q.decoded), strings.ToLower(strings.ToUpper(q.decoded))}
	}},
	{name: "does not collapse slashes", readings: func(q request) readings { return readings{q.decoded} }},
}

var (
	whatwg    = strings.NewReplacer("\\", "/", "\t", "", "\n", "", "\r", "", "%2e", ".", "%2E", ".")
	invisible = strings.NewReplacer("\u200b", "", "\u00ad", "", "ı", "i", "İ", "i", "\\", "/")
)

// unescapeOnce decodes %XX, leaving what is none.
func unescapeOnce(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	var short [128]byte
	b := short[:0]
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && unhex(s[i+1]) < 16 && unhex(s[i+2]) < 16 {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

// slashes makes one slash of several.
func slashes(s string) string {
	for strings.Contains(s, "//") {
		s = strings.ReplaceAll(s, "//", "/")
	}
	return s
}

// dots resolves dot segments (RFC 3986, 5.2.4) and keeps empty ones.
func dots(s string) string {
	if !strings.Contains(s, "/.") {
		return s
	}
	var out []string
	for segment := range strings.SplitSeq(strings.TrimPrefix(s, "/"), "/") {
		switch segment {
		case ".":
		case "..":
			out = out[:max(0, len(out)-1)]
		default:
			out = append(out, segment)
		}
	}
	return "/" + strings.Join(out, "/")
}

func before(s, mark string) string {
	s, _, _ = strings.Cut(s, mark)
	return s
}

func cString(s string) string { return before(s, "\x00") }

// cutParameters drops ;name=value from each segment.
func cutParameters(s string) string {
	if strings.IndexByte(s, ';') < 0 {
		return s
	}
	parts := strings.Split(s, "/")
	for i := range parts {
		parts[i] = before(parts[i], ";")
	}
	return strings.Join(parts, "/")
}

// pathInfo is what a front controller at /index.php routes on.
func pathInfo(p string) string {
	if rest, ok := strings.CutPrefix(p, "/index.php/"); ok {
		return "/" + rest
	}
	return p
}

// besideScript is what an application in a folder routes on: /x/index.php/y is its /x/y.
func besideScript(p string) string { return strings.Replace(p, "/index.php/", "/", 1) }

// windows resolves a path as its file system does: segments lose trailing dots and blanks and what
// follows a colon; cookieless ASP.NET sessions vanish.
func windows(p string) string {
	var out []string
	for segment := range strings.SplitSeq(p, "/") {
		segment = strings.TrimRight(before(segment, ":"), " ")
		switch {
		case segment == "" || segment == ".":
		case segment == "..":
			out = out[:max(0, len(out)-1)]
		case strings.HasPrefix(strings.ToUpper(segment), "(S(") && strings.HasSuffix(segment, "))"):
		default:
			if segment = strings.TrimRight(segment, ". "); segment != "" {
				out = append(out, segment)
			}
		}
	}
	return "/" + strings.Join(out, "/")
}
