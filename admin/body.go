package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"gatehouse/session"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 64 << 10

// errBody is the answer to a body that broke off, or took too long.
var errBody = badRequest("The body could not be read to its end.")

// readChange reads the body of a PATCH.
func readChange(w http.ResponseWriter, r *http.Request) (session.Change, error) {
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if charset := params["charset"]; err != nil || media != "application/json" || charset != "" && !strings.EqualFold(charset, "utf-8") {
		return session.Change{}, &problem{status: http.StatusUnsupportedMediaType, code: "unsupported_media_type", message: "Send the change as Content-Type: application/json, in UTF-8."}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return session.Change{}, &problem{status: http.StatusRequestEntityTooLarge, code: "body_too_large", message: "The body is larger than 64 KiB."}
	case err != nil:
		return session.Change{}, errBody
	}
	return parseChange(body)
}

// parseChange reads a change more strictly than encoding/json does, which takes "Role" for "role", the second of two values,
// null for nothing, and replaces what is not UTF-8: each time something else would be written than was sent.
// The errors repeat no value.
func parseChange(body []byte) (session.Change, error) {
	var c session.Change
	if !utf8.Valid(body) {
		return c, badRequest("The body is not UTF-8.")
	}
	fields := map[string]any{"name": &c.Name, "role": &c.Role, "emailVerified": &c.EmailVerified}
	d := json.NewDecoder(bytes.NewReader(body))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return c, badRequest(`The body is no JSON object; send one such as {"role": "member"}.`)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return c, badRequest("The body is no complete JSON object.")
		}
		name, _ := key.(string)
		field, known := fields[name]
		if !known {
			return c, badRequest(fmt.Sprintf("The field %.40q is not known, or there twice; there are name, role and emailVerified.", name))
		}
		delete(fields, name)
		if err := decodeField(d, name, field); err != nil {
			return c, err
		}
	}
	if _, err := d.Token(); err != nil {
		return c, badRequest("The body is no complete JSON object.")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return c, badRequest("Something stands behind the JSON object.")
	}
	if c == (session.Change{}) {
		return c, badRequest("There is nothing to change; send name, role or emailVerified.")
	}
	return c, nil
}

func decodeField(d *json.Decoder, name string, to any) error {
	var raw json.RawMessage
	if err := d.Decode(&raw); err != nil {
		return badRequest("The body is no complete JSON object.")
	}
	kind := "a text"
	if _, boolean := to.(**bool); boolean {
		kind = "true or false"
	}
	if string(raw) == "null" || json.Unmarshal(raw, to) != nil {
		return badRequest(fmt.Sprintf("The field %q must be %s.", name, kind))
	}
	// Half of a surrogate pair (\ud800) is read as U+FFFD.
	if text, ok := to.(**string); ok && strings.ContainsRune(**text, utf8.RuneError) {
		return badRequest(fmt.Sprintf("The field %q holds half a character.", name))
	}
	return nil
}
