package proxy

import (
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/config"
	"gatehouse/session"
)

// HeaderValue is one identity header as the application sees it.
type HeaderValue struct{ Name, Value string }

// maxHeaderValue bounds an identity header's encoded value, in bytes. Servers allow 8 KiB for all
// headers together; over that the application answers 400 to everything the user does.
const maxHeaderValue = 4 << 10

const tooLong = "longer than 4 KiB"

// rawUTF8 is the value of config.Header.Encoding that leaves UTF-8 as it is.
const rawUTF8 = "raw-utf8"

// recordTime is how times are written: RFC 3339 in UTC with milliseconds (design: Sessions).
const recordTime = "2006-01-02T15:04:05.000Z07:00"

type identityHeader struct {
	name  string // canonical
	value func(*session.Record) string
	raw   bool
}

func newIdentityHeader(cfg config.Header) identityHeader {
	return identityHeader{name: http.CanonicalHeaderKey(cfg.Name), value: attribute(cfg.Value), raw: cfg.Encoding == rawUTF8}
}

// attribute gives the reader of a session's attribute. One that config's check does not know
// reads as empty.
func attribute(name string) func(*session.Record) string {
	switch name {
	case "userId":
		return func(r *session.Record) string { return r.User.ID }
	case "email":
		return func(r *session.Record) string { return r.Email }
	case "name":
		return func(r *session.Record) string { return r.Name }
	case "role":
		return func(r *session.Record) string { return r.Role }
	case "emailVerified":
		return func(r *session.Record) string { return strconv.FormatBool(r.EmailVerified) }
	case "sessionId":
		return func(r *session.Record) string {
			if r.ID.IsZero() {
				return ""
			}
			return r.ID.String()
		}
	case "createdAt":
		return func(r *session.Record) string { return formatTime(r.CreatedAt) }
	case "expiresAt":
		return func(r *session.Record) string { return formatTime(r.ExpiresAt) }
	}
	return func(*session.Record) string { return "" }
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(recordTime)
}

// Identity gives the identity headers of a session, in the order of the config. An empty
// attribute has no header at all, and no session (nil) has none. dropped, if not nil, is told of
// headers that are left out because their value cannot be sent.
func (s *Scrubber) Identity(rec *session.Record, dropped func(name, why string)) []HeaderValue {
	if rec == nil {
		return nil
	}
	values := make([]HeaderValue, 0, len(s.headers)+1) // and the assertion
	for _, h := range s.headers {
		value, why := encodeValue(h.value(rec), h.raw)
		if why != "" {
			if dropped != nil {
				dropped(h.name, why)
			}
			continue
		}
		if value != "" {
			values = append(values, HeaderValue{Name: h.name, Value: value})
		}
	}
	return values
}

// encodeValue makes a header value of an attribute (H09). Line breaks would inject headers, and any
// control character makes net/http refuse the request, which the user sees as a 502 everywhere.
//
// Percent-encoding covers all but printable ASCII, the % itself (so that it can be undone, and no
// two users share a value), and blanks at the ends, which HTTP trims. With raw, values that
// cannot be sent as they are are not sent: encoded, they could be another user's.
func encodeValue(value string, raw bool) (encoded, why string) {
	if len(value) > maxHeaderValue {
		return "", tooLong
	}
	if raw {
		if !isSendable(value) {
			return "", "control character or invalid UTF-8 in a raw-utf8 value"
		}
		return value, ""
	}
	if encoded = percentEncode(value); len(encoded) > maxHeaderValue {
		return "", tooLong
	}
	return encoded, ""
}

func isSendable(value string) bool {
	return utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
}

func percentEncode(value string) string {
	count := 0
	for i := range len(value) {
		if mustEncode(value, i) {
			count++
		}
	}
	if count == 0 {
		return value
	}
	const digits = "0123456789ABCDEF"
	b := make([]byte, 0, len(value)+2*count)
	for i := range len(value) {
		c := value[i]
		if mustEncode(value, i) {
			b = append(b, '%', digits[c>>4], digits[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

func mustEncode(value string, i int) bool {
	switch c := value[i]; {
	case c == ' ':
		return i == 0 || i == len(value)-1
	default:
		return c < ' ' || c >= 0x7f || c == '%'
	}
}
