package config

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes. In the file: 4096, 64KiB, 10MB, 1GiB.
type Size int64

// The binary units of [Size].
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

// String gives the form that stands in the file, in the largest binary unit that is exact.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		unit Size
	}{{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB}} {
		if s != 0 && s%u.unit == 0 {
			return strconv.FormatInt(int64(s/u.unit), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// Rate is how often something may happen. In the file: 30/m, 5/s, 100/h.
type Rate struct {
	// Events that may happen within Per.
	Events int
	// Per is one second, minute or hour.
	Per time.Duration
}

// PerSecond gives the rate for golang.org/x/time/rate.
func (r Rate) PerSecond() float64 {
	if r.Per <= 0 {
		return 0
	}
	return float64(r.Events) / r.Per.Seconds()
}

// String gives the form that stands in the file.
func (r Rate) String() string {
	switch r.Per {
	case time.Second:
		return strconv.Itoa(r.Events) + "/s"
	case time.Minute:
		return strconv.Itoa(r.Events) + "/m"
	case time.Hour:
		return strconv.Itoa(r.Events) + "/h"
	}
	return fmt.Sprintf("%d/%s", r.Events, r.Per)
}

// String gives the form that stands in the file: httponly, none, or the names.
func (v Vault) String() string {
	switch {
	case v.HTTPOnly:
		return vaultHTTPOnly
	case len(v.Names) == 0:
		return vaultNone
	}
	return "[" + strings.Join(v.Names, ", ") + "]"
}

// Secret is a string that no log, error or dump shows.
type Secret string

const hidden = "[secret]"

// String hides the value.
func (Secret) String() string { return hidden }

// GoString hides the value from %#v.
func (Secret) GoString() string { return hidden }

// Format hides the value from every verb: without it, fmt prints the string for a verb
// that does not fit, such as %d.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// MarshalText hides the value from encoders.
func (Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// Reveal gives the value to the one place that must have it.
func (s Secret) Reveal() string { return string(s) }
