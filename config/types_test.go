package config_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
)

// dump makes values comparable; secrets stay hidden.
func dump(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func TestSecretNeverShows(t *testing.T) {
	t.Parallel()
	c := config.Default()
	c.Redis.Password = "hunter2"
	var out []string
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t", "%08.3f"} {
		out = append(out, fmt.Sprintf(verb, c.Redis.Password), fmt.Sprintf(verb, *c), fmt.Sprintf(verb, &c.Redis))
	}
	out = append(out, dump(c), c.Redis.Password.String(), c.Redis.Password.GoString())
	for _, s := range out {
		if strings.Contains(s, "hunter2") || strings.Contains(strings.ToLower(s), "68756e746572") {
			t.Errorf("shows the secret: %s", s)
		}
	}
	if c.Redis.Password.Reveal() != "hunter2" {
		t.Error("cannot be revealed")
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value fmt.Stringer
		want  string
	}{
		{config.Size(0), "0"}, {config.Size(1000), "1000"}, {config.KiB, "1KiB"}, {3 * config.MiB, "3MiB"}, {config.GiB, "1GiB"},
		{config.Rate{Events: 5, Per: time.Second}, "5/s"}, {config.Rate{Events: 30, Per: time.Minute}, "30/m"},
		{config.Rate{Events: 1, Per: time.Hour}, "1/h"}, {config.Rate{Events: 1, Per: 2 * time.Hour}, "1/2h0m0s"},
		{config.Vault{HTTPOnly: true}, "httponly"}, {config.Vault{}, "none"}, {config.Vault{Names: []string{"a", "b"}}, "[a, b]"},
		{(*config.Upstream)(nil), ""}, {&config.Upstream{Socket: "/a"}, "unix:/a"},
	} {
		if got := c.value.String(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestPerSecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rate config.Rate
		want float64
	}{
		{config.Rate{Events: 30, Per: time.Minute}, 0.5}, {config.Rate{Events: 5, Per: time.Second}, 5}, {config.Rate{}, 0},
	} {
		if got := c.rate.PerSecond(); got != c.want {
			t.Errorf("%s: got %v, want %v", c.rate, got, c.want)
		}
	}
}

func TestDefaultCookieName(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		cookie config.Cookie
		want   string
	}{
		{config.Cookie{Secure: true}, "__Host-gatehouse"},
		{config.Cookie{Secure: true, Domain: "example.com"}, "gatehouse"},
		{config.Cookie{}, "gatehouse"},
	} {
		if got := c.cookie.DefaultName(); got != c.want {
			t.Errorf("%+v: got %s, want %s", c.cookie, got, c.want)
		}
	}
}

// Two callers never share what they may change.
func TestDefaultIsFresh(t *testing.T) {
	t.Parallel()
	a := config.Default()
	a.Headers[0].Name, a.Methods[0] = "X", "X"
	if b := config.Default(); b.Headers[0].Name == "X" || b.Methods[0] == "X" {
		t.Error("shared")
	}
}
