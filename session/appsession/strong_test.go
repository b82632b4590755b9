package appsession_test

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"testing"

	"gatehouse/session/appsession"
)

func TestStrong(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		"":                                 false,
		"d41d8cd98f00b204f9800998ecf8427e": true, // 32 hexadecimal digits: PHP, Rails
		"D41D8CD98F00B204F9800998ECF8427E": true,
		"d41d8cd98f00b204e9800998ecf8427":  false, // 31
		"d41d8cd98f00b204f9800998ecf8427e7f3a01c5":           true,
		"11111111111111111111111111111111":                   false,
		"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab":                   false,
		"31415926535897932384626433832795028841971693993751": false, // decimal, however long
		"1b4e28ba-2fa1-4d2c-883f-0016d3cca427":               false, // UUID, version 4
		"1B4E28BA-2FA1-4D2C-883F-0016D3CCA427":               false,
		"1b4e28ba-2fa1-11d2-883f-0016d3cca427":               false, // version 1
		"1b4e28ba2fa14d2c883f0016d3cca427":                   false, // without dashes
		"1b4e28ba2fa111d2883f0016d3cca427":                   false,
		"1b4e28ba2fa12d2c883f0016d3cca427":                   true,  // no version in use
		"{1b4e28ba-2fa1-4d2c-883f-0016d3cca427}":             false, // another way to write one
		"q1w2e3r4t5y6u7i8o9p0a1s2d3":                         true,  // 26 letters of one case and digits
		"q1w2e3r4t5y6u7i8o9p0a1s2d":                          false, // 25
		"k9v2x7q4m1z8w3p6n5t0r2y7u4i1o8as":                   true,  // Django: 32
		"W7u2mVnJxkP0sQeR4tYz1a":                             true,  // 22 of base64url: 16 bytes
		"W7u2mVnJxkP0sQeR4tYz1":                              false, // 21
		"WXumVnJxkPsQeRtYzaBcDe":                             false, // 22 without a digit
		"W7u2mVnJxkP0sQeR4tYz1aBcDeFgHiJk":                   true,  // express-session: 32
		"W7u2mVnJ+kP0sQeR4tYz/g==":                           true,  // base64 of 16 bytes
		"session_id_0123456789abcdef":                        false, // a structure, 16 digits of it random
		"user:1b4e28ba2fa12d2c883f0016d3cca427":              false,
		"1b4e28ba2fa12d2c883f0016d3cca427\n":                 false,
		"64f1b2c3d4e5f60718293a4b":                           false, // 24: an ID of Mongo
		"4f1b2c3d4e5f6":                                      false, // uniqid
	} {
		if got := appsession.Strong(token); got != want {
			t.Errorf("%q: %v", token, got)
		}
	}
}

// Sixteen random bytes are as good as always strong, fifteen never, however they are written.
func TestStrongRandom(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		encode func([]byte) string
		least  int // of a thousand
	}{
		"hex":       {hex.EncodeToString, 900},                   // what looks like a UUID is not
		"base32":    {base32.StdEncoding.EncodeToString, 990},    //
		"base64url": {base64.RawURLEncoding.EncodeToString, 930}, // those without a digit are not
		"base64":    {base64.StdEncoding.EncodeToString, 930},    //
		"hex, long": {func(b []byte) string { return hex.EncodeToString(append(b, b...)) }, 1000},
	} {
		strong := 0
		for range 1000 {
			b := make([]byte, 16)
			rand.Read(b)
			if appsession.Strong(c.encode(b)) {
				strong++
			}
			if name != "hex, long" && appsession.Strong(c.encode(b[:15])) && name != "base32" {
				t.Fatalf("%s: 15 bytes are strong", name)
			}
		}
		if strong < c.least {
			t.Errorf("%s: %d of 1000 are strong", name, strong)
		}
	}
}
