package database

import (
	"net/url"
	"os"
	"path/filepath"
	"testing"
)

// TestLogin: the file is read again for each new connection, and never trusted half-written.
func TestLogin(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	l := newLogin(url.UserPassword("first", "1"))
	if l.current() != (credentials{"first", "1"}) || l.user() != "first" {
		t.Errorf("without a file: %v", l.current())
	}
	l.file = file
	if l.current() != (credentials{"first", "1"}) {
		t.Errorf("file not there: %v", l.current())
	}
	for _, c := range []struct {
		text string
		want credentials
	}{
		{"postgres://second:2@h/n\r\n", credentials{"second", "2"}},
		{"postgres://third:3@", credentials{"second", "2"}},
		{"", credentials{"second", "2"}},
		{"postgres://fourth:4%2F@h/n", credentials{"fourth", "4/"}},
	} {
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := l.current(); got != c.want || l.user() != c.want.user {
			t.Errorf("%q: %v, want %v", c.text, got, c.want)
		}
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if got := l.current(); got.user != "fourth" {
		t.Errorf("file gone: %v", got)
	}
}
