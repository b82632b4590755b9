package config

import (
	"errors"
	"net/url"
	"reflect"
	"strings"

	"github.com/go-viper/mapstructure/v2"
)

// decodeHook parses the values that stand in the file as text into their types. It is the only
// place where they are parsed.
func decodeHook(from, to reflect.Value) (any, error) {
	if to.Type() == vaultType && from.Kind() == reflect.Slice {
		return vaultNames(from)
	}
	if from.Kind() != reflect.String {
		return from.Interface(), nil
	}
	s := strings.TrimSpace(from.String())
	switch to.Type() {
	case durationType:
		return hooked(parseDuration(s))
	case sizeType:
		return hooked(parseSize(s))
	case rateType:
		return hooked(parseRate(s))
	case prefixType:
		return hooked(parsePrefix(s))
	case vaultType:
		return hooked(parseVault(s))
	case urlType:
		if s == "" {
			return nil, nil
		}
		return hooked(parsePublicURL(s))
	case upstreamType:
		if s == "" {
			return nil, nil
		}
		return hooked(parseUpstream(s))
	}
	return from.Interface(), nil
}

// hooked keeps a nil *fault from becoming a non-nil error.
func hooked[T any](v T, f *fault) (any, error) {
	if f != nil {
		return nil, f
	}
	return v, nil
}

func vaultNames(from reflect.Value) (any, error) {
	v := Vault{Names: []string{}}
	for i := range from.Len() {
		name, _ := from.Index(i).Interface().(string)
		v.Names = append(v.Names, name)
	}
	if len(v.Names) == 0 {
		return nil, faultf("write none, httponly or at least one cookie name", "is an empty list")
	}
	return v, nil
}

func parsePublicURL(s string) (*url.URL, *fault) {
	u, f := parseOrigin(s, "https://app.example.com")
	if f != nil {
		return nil, f
	}
	u.Host = withoutDefaultPort(u)
	return u, nil
}

// withoutDefaultPort gives the host as browsers write it in Origin: without :443 or :80.
func withoutDefaultPort(u *url.URL) string {
	switch {
	case u.Scheme == "https":
		return strings.TrimSuffix(u.Host, ":443")
	case u.Scheme == "http":
		return strings.TrimSuffix(u.Host, ":80")
	}
	return u.Host
}

// decodeProblems takes mapstructure's tree of errors apart. Each leaf names its key.
func decodeProblems(err error, report func(path string, f *fault)) {
	for err != nil {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				decodeProblems(e, report)
			}
			return
		}
		if d, ok := err.(*mapstructure.DecodeError); ok && !nested(d.Unwrap()) {
			var f *fault
			if !errors.As(d.Unwrap(), &f) {
				f = faultf("see config.example.yaml", "has a value of the wrong type")
			}
			report(d.Name(), f)
			return
		}
		next := errors.Unwrap(err)
		if next == nil {
			report("", faultf("see config.example.yaml", "%s", err.Error()))
		}
		err = next
	}
}

// nested reports whether more named errors are inside.
func nested(err error) bool {
	var d *mapstructure.DecodeError
	return errors.As(err, &d)
}
