package appsession_test

import (
	"bytes"
	"compress/zlib"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"runtime"
	"strings"
	"testing"

	"gatehouse/session/appsession"
)

// sign writes a payload as django.core.signing does.
func sign(encoded, key string) string {
	secret := sha256.Sum256([]byte("django.contrib.sessions.SessionStoresigner" + key))
	mac := hmac.New(sha256.New, secret[:])
	mac.Write([]byte(encoded))
	return encoded + ":" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// Sixteen MiB in a payload of a few KiB are refused without unpacking them. Not parallel: it counts what is
// allocated.
func TestDjangoBomb(t *testing.T) {
	var packed bytes.Buffer
	w := zlib.NewWriter(&packed)
	for range 16 {
		if _, err := w.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	bomb := sign("."+base64.RawURLEncoding.EncodeToString(packed.Bytes())+":1abcde", "key")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := appsession.DjangoUser(bomb, []string{"key"})
	runtime.ReadMemStats(&after)
	if !errors.Is(err, appsession.ErrTooLarge) {
		t.Errorf("%v, want ErrTooLarge", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 16<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

// The signature is right, what it signs is not.
func TestDjangoSignedJunk(t *testing.T) {
	t.Parallel()
	junk := base64.RawURLEncoding.EncodeToString([]byte("top-s3cret"))
	for name, encoded := range map[string]string{
		"no time": "e30", "no base64": "*:1abcde", "padded": "e30=:1abcde", "not compressed": "." + junk + ":1abcde", "no JSON": junk + ":1abcde",
		"cut off": ".eJyrVkrMS:1abcde", "a list": "W10:1abcde", "nothing": ":1abcde",
	} {
		_, err := appsession.DjangoUser(sign(encoded, "key"), []string{"key"})
		if !errors.Is(err, appsession.ErrMalformed) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if id, err := appsession.DjangoUser(sign("e30:1abcde", "key"), []string{"key"}); id != "" || err != nil {
		t.Errorf("%q, %v", id, err)
	}
}

func TestDjangoKeys(t *testing.T) {
	t.Parallel()
	for _, keys := range [][]string{nil, {}, {""}, {"x", ""}} {
		if _, err := appsession.DjangoUser("x", keys); !errors.Is(err, appsession.ErrNoKey) {
			t.Errorf("%q: %v", keys, err)
		}
		if (appsession.DjangoIdentity{AuthHash: "x"}).MatchesPassword("x", keys) {
			t.Errorf("%q match", keys)
		}
	}
	if (appsession.DjangoIdentity{}).MatchesPassword("", []string{"x"}) {
		t.Error("no hash matches")
	}
	for data, want := range map[string]error{
		"": appsession.ErrMalformed, ":": appsession.ErrSignature, "::": appsession.ErrSignature, "e30:1:x": appsession.ErrSignature, ".e30:1:x": appsession.ErrSignature,
		"*": appsession.ErrMalformed, "e30=": appsession.ErrMalformed, base64.StdEncoding.EncodeToString([]byte(":{}")): appsession.ErrSignature,
	} {
		if _, err := appsession.DjangoUser(data, []string{"x"}); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", data, err, want)
		}
	}
}
