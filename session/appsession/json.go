package appsession

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// JSONUser gives the user ID at path in a payload that is a JSON object, such as the sess column of
// connect-pg-simple (path: passport, user). Numbers keep all their digits: 9007199254740993 is not the
// user ...992. "" when nobody is logged in. ErrMalformed, ErrTooLarge, ErrUser.
//
// It is strict where encoding/json's Unmarshal is not: that one takes the last of two equal keys, matches
// keys without regard to case, and replaces bytes that are not UTF-8, which makes different names equal.
func JSONUser(data []byte, path []string) (userID string, err error) {
	object, err := parseJSON(data)
	if err != nil {
		return "", err
	}
	return userAt(object, path)
}

func parseJSON(data []byte) (*table, error) {
	switch {
	case len(data) > MaxPayload:
		return nil, ErrTooLarge
	case !utf8.Valid(data):
		return nil, malformed("it is not UTF-8")
	case !json.Valid(data): // also refuses data after the object
		return nil, malformed("it is no JSON")
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	v, err := jsonValue(dec, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(*table)
	if !ok {
		return nil, malformed("it is JSON, but no object")
	}
	return object, nil
}

func jsonValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxDepth {
		return nil, errDeep
	}
	token, err := dec.Token()
	if err != nil {
		return nil, malformed("it is no JSON")
	}
	switch token := token.(type) {
	case json.Delim:
		if token == '{' {
			return jsonObject(dec, depth)
		}
		return jsonList(dec, depth)
	case json.Number:
		if text := token.String(); isInteger(text) {
			return integer(text), nil
		}
		return other("a number with a fraction or an exponent"), nil
	default:
		return token, nil
	}
}

func jsonList(dec *json.Decoder, depth int) (any, error) {
	l := &list{}
	for dec.More() {
		v, err := jsonValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		l.items = append(l.items, v)
	}
	_, err := dec.Token()
	return l, err
}

func jsonObject(dec *json.Decoder, depth int) (any, error) {
	t := &table{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, malformed("it is no JSON")
		}
		v, err := jsonValue(dec, depth+1)
		if err != nil {
			return nil, err
		}
		if name, ok := token.(string); !ok || !t.add(name, v) {
			return nil, errTwice
		}
	}
	_, err := dec.Token()
	return t, err
}
