package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"time"
)

// KeyInfo describes one key of the file, for documentation and its tests.
type KeyInfo struct {
	// Path from the top; [] stands for each element of a list: rules[].path.
	Path string
	// Type in words: text, number, boolean, duration, size, rate, URL, CIDR, secret, list of ....
	Type string
	// Default as it would stand in the file; empty when there is none.
	Default string
	// Env is the environment variable that overrides the key; empty for what only the file can hold.
	Env string
}

// Keys describes every key, in the order of the types.
func Keys() []KeyInfo {
	def := Default()
	var keys []KeyInfo
	newSchema().walk(func(s *schema) {
		k := KeyInfo{Path: s.path, Type: typeName(s), Env: s.env()}
		if s.index != nil {
			k.Default = formatValue(s.field(def))
		} else {
			k.Default = elementDefault(s.path)
		}
		keys = append(keys, k)
	})
	return keys
}

// elementDefault is the default of a key inside a list element.
func elementDefault(path string) string {
	switch path {
	case "rules[].access":
		return string(Protected)
	case "rules[].websocket":
		return "true"
	case "rules[].encoded_slashes":
		return "false"
	case "headers[].encoding":
		return EncodingPercent
	}
	return ""
}

func typeName(s *schema) string {
	switch s.typ {
	case durationType, reflect.PointerTo(durationType):
		return "duration"
	case sizeType, reflect.PointerTo(sizeType):
		return "size"
	case rateType:
		return "rate"
	case urlType, upstreamType:
		return "URL"
	case prefixType:
		return "CIDR"
	case secretType:
		return "secret"
	case vaultType:
		return "httponly, none or list of text"
	}
	switch s.kind {
	case section:
		return "section"
	case list:
		return "list of " + typeName(s.elem)
	case number:
		return "number"
	case boolean:
		return "boolean"
	}
	return "text"
}

// formatValue writes a value as it would stand in the file.
func formatValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case time.Duration:
		return formatDuration(x)
	case Secret:
		return ""
	case *url.URL:
		if x == nil {
			return ""
		}
		return x.String()
	case *Upstream:
		return x.String()
	case Header:
		return fmt.Sprintf("{name: %s, value: %s}", x.Name, x.Value)
	case Rate:
		if x == (Rate{}) {
			return "" // none
		}
		return x.String()
	case Vault, Size, netip.Prefix:
		return fmt.Sprint(x)
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			return ""
		}
		return formatValue(v.Elem())
	}
	if v.Kind() == reflect.Slice {
		words := make([]string, v.Len())
		for i := range words {
			words[i] = formatValue(v.Index(i))
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	return fmt.Sprint(v.Interface())
}

// formatDuration cuts the zeros Go writes: 168h0m0s becomes 168h.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
