package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// decodeRecord reads the text found under key. Whatever is not this session's record is ErrCorrupt:
// truncated or no JSON, a newer schema, another session's ID or another user's slot inside.
// The record names its own key, so that a mix-up anywhere between here and Redis can never
// give one user the identity of another (S12).
func decodeRecord(raw string, key Key) (*Record, error) {
	r, err := parseRecord(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	if r.ID != key.ID {
		return nil, fmt.Errorf("%w: it names another session", ErrCorrupt)
	}
	if TagOf(r.User.ID) != key.Tag {
		return nil, fmt.Errorf("%w: it belongs to another user's slot", ErrCorrupt)
	}
	return r, nil
}

// fields takes known fields out of a JSON object, one by one; what is left is unknown.
// The first mistake stays in err.
type fields struct {
	left map[string]json.RawMessage
	err  error
}

// take decodes a field into v, a pointer. An optional field may be absent, never of another type.
func (f *fields) take(name string, v any, required bool) {
	raw, ok := f.left[name]
	delete(f.left, name)
	if f.err != nil {
		return
	}
	if !ok {
		if required {
			f.err = fmt.Errorf("%s is missing", name)
		}
		return
	}
	if err := json.Unmarshal(raw, v); err != nil {
		f.err = fmt.Errorf("%s is not as it should be", name)
	}
}

// takeTime reads RFC 3339 with any number of digits after the second.
func (f *fields) takeTime(name string) time.Time {
	var t time.Time
	f.take(name, &t, true)
	return t.UTC()
}

func parseRecord(raw string) (*Record, error) {
	f := fields{}
	if err := json.Unmarshal([]byte(raw), &f.left); err != nil {
		return nil, errors.New("no JSON object") // the cause would quote the record
	}
	r := &Record{raw: raw}
	f.take("v", &r.Version, true)
	if f.err == nil && (r.Version < 1 || r.Version > SchemaVersion) {
		return nil, fmt.Errorf("schema version %d, this program reads 1 to %d", r.Version, SchemaVersion)
	}
	var id string
	f.take("id", &id, true)
	r.User.ID = f.takeUserID()
	f.take("email", &r.Email, false)
	f.take("name", &r.Name, false)
	f.take("emailVerified", &r.EmailVerified, false)
	f.take("role", &r.Role, false)
	r.CreatedAt = f.takeTime("createdAt")
	r.LastAccessed = f.takeTime("lastAccessed")
	r.ExpiresAt = f.takeTime("expiresAt")
	f.take("backend", &r.Backend, false)
	f.take("database", &r.Database, false)
	f.take("born", &r.born, false)
	f.take("alias", &r.Alias, false)
	f.take("ip", &r.IP, false)
	f.take("userAgent", &r.UserAgent, false)
	f.take("sealed", &r.Sealed, false)
	if f.err != nil {
		return nil, f.err
	}
	var ok bool
	if r.ID, ok = ParseID(id); !ok {
		return nil, errors.New("id is no session ID")
	}
	if len(f.left) > 0 {
		r.Unknown = f.left
	}
	return r, nil
}

// takeUserID accepts a string or a number and keeps the number's text, so that no digit is lost.
func (f *fields) takeUserID() string {
	var raw json.RawMessage
	f.take("userId", &raw, true)
	if f.err != nil {
		return ""
	}
	var id string
	switch raw = bytes.TrimSpace(raw); {
	case raw[0] == '"':
		f.err = json.Unmarshal(raw, &id)
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		id = string(raw)
	}
	if f.err != nil || id == "" {
		f.err = errors.New("userId is neither a string nor a number")
	}
	return id
}
