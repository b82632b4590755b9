package login

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"unicode/utf8"
)

// maxJSONDepth bounds nesting: no identity lies deeper.
const maxJSONDepth = 64

// errJSON: a text is not the one unambiguous JSON object it must be.
var errJSON = errors.New("login: not a plain JSON object")

// parseObject reads a JSON object strictly (I02). encoding/json's Unmarshal is no help where the answer
// is who somebody is: it takes the last of two equal keys, matches keys without regard to case,
// replaces bytes that are not UTF-8 (which makes different names equal) and turns numbers into
// floats (which makes 9007199254740993 and ...992 one user).
//
// Values are string, json.Number, bool, nil, []any and map[string]any.
func parseObject(text []byte) (map[string]any, error) {
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: it is not UTF-8", errJSON)
	}
	if !json.Valid(text) { // also refuses data after the object
		return nil, fmt.Errorf("%w: it does not parse", errJSON)
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	v, err := parseValue(dec, 0)
	if err != nil {
		return nil, err
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("%w: it is another value", errJSON)
	}
	return object, nil
}

func parseValue(dec *json.Decoder, depth int) (any, error) {
	if depth > maxJSONDepth {
		return nil, fmt.Errorf("%w: it is nested more than %d deep", errJSON, maxJSONDepth)
	}
	token, err := dec.Token()
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errJSON, err)
	}
	switch token {
	case json.Delim('{'):
		return parseMembers(dec, depth)
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := parseValue(dec, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err := dec.Token()
		return list, err
	default:
		return token, nil
	}
}

func parseMembers(dec *json.Decoder, depth int) (any, error) {
	object := map[string]any{}
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("%w: %v", errJSON, err)
		}
		key, ok := token.(string)
		if _, twice := object[key]; !ok || twice {
			return nil, fmt.Errorf("%w: a key stands twice in it", errJSON)
		}
		if object[key], err = parseValue(dec, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := dec.Token()
	return object, err
}

// lookUp follows a dotted path through nested objects.
func lookUp(object map[string]any, path string) (any, bool) {
	key, rest, nested := strings.Cut(path, ".")
	v, ok := object[key]
	if !ok || !nested {
		return v, ok
	}
	inner, ok := v.(map[string]any)
	if !ok {
		return nil, false
	}
	return lookUp(inner, rest)
}

// isJSON reports whether a Content-Type is JSON in UTF-8.
func isJSON(contentType string) bool {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return false
	}
	charset := params["charset"]
	return charset == "" || strings.EqualFold(charset, "utf-8")
}
