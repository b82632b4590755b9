package login

import (
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"gatehouse/config"
)

// errNoMarks is a config without a way to tell success from failure.
var errNoMarks = errors.New("login.app.success has no mark: set at least one of status, location, content_type, header, json_field")

// marks tell a successful login from a failed one by the application's answer. Every one that is
// set must hold (I03): most applications redirect in both cases, and to guess wrong is to let
// somebody in.
type marks struct {
	cfg         config.AppSuccess
	headerName  string
	headerValue *string // nil: any value that is not empty
	fieldPath   string
	fieldValue  *string // nil: any value that is not null, false or empty
}

func newMarks(cfg config.AppSuccess) (marks, error) {
	m := marks{cfg: cfg}
	if len(cfg.Status) == 0 && len(cfg.Location) == 0 && cfg.ContentType == "" && cfg.Header == "" && cfg.JSONField == "" {
		return m, errNoMarks
	}
	name, headerValue, hasValue := strings.Cut(cfg.Header, ":")
	m.headerName = strings.TrimSpace(name)
	if headerValue = strings.TrimSpace(headerValue); hasValue {
		m.headerValue = &headerValue
	}
	path, fieldValue, hasValue := strings.Cut(cfg.JSONField, "=")
	m.fieldPath = path
	if hasValue {
		m.fieldValue = &fieldValue
	}
	return m, nil
}

// needBody reports whether the body has a mark.
func (m marks) needBody() bool { return m.cfg.JSONField != "" }

// holdInHeader checks all marks but the body's.
func (m marks) holdInHeader(resp *http.Response) bool {
	// I04: an encoded body cannot be read, and an application that ignores Accept-Encoding ignores more.
	if isEncoded(resp.Header) {
		return false
	}
	if len(m.cfg.Status) > 0 && !slices.Contains(m.cfg.Status, resp.StatusCode) {
		return false
	}
	if len(m.cfg.Location) > 0 {
		// Exactly, byte for byte: /dashboard?error=1 is another place.
		if at := resp.Header.Values("Location"); len(at) != 1 || !slices.Contains(m.cfg.Location, at[0]) {
			return false
		}
	}
	if m.cfg.ContentType != "" {
		media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
		if err != nil || !strings.EqualFold(media, m.cfg.ContentType) {
			return false
		}
	}
	return m.headerName == "" || slices.ContainsFunc(resp.Header.Values(m.headerName), func(v string) bool {
		return m.headerValue == nil && v != "" || m.headerValue != nil && v == *m.headerValue
	})
}

// holdInBody checks the body's mark. A body that is not one plain JSON object does not have it.
func (m marks) holdInBody(body []byte) bool {
	if !m.needBody() {
		return true
	}
	object, err := parseObject(body)
	if err != nil {
		return false
	}
	v, ok := lookUp(object, m.fieldPath)
	if !ok {
		return false
	}
	if m.fieldValue != nil {
		text, ok := scalarText(v)
		return ok && text == *m.fieldValue
	}
	switch v := v.(type) {
	case bool:
		return v
	case string:
		return v != ""
	case json.Number:
		return true
	case []any:
		return len(v) > 0
	case map[string]any:
		return len(v) > 0
	default: // null
		return false
	}
}

// scalarText is a string, number or bool as text, the number with all its digits.
func scalarText(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		if v {
			return "true", true
		}
		return "false", true
	default:
		return "", false
	}
}

// isEncoded reports a Content-Encoding other than identity.
func isEncoded(h http.Header) bool {
	for _, line := range h.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return true
			}
		}
	}
	return false
}
