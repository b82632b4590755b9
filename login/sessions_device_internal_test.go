package login

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestDevice(t *testing.T) {
	t.Parallel()
	const (
		windows = "Mozilla/5.0 (Windows NT 10.0; Win64; x64"
		android = "Mozilla/5.0 (Linux; Android 14; "
		iPhone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
		chrome  = ") AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 "
	)
	for _, c := range []struct{ userAgent, want string }{
		{windows + "; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox on Windows"},
		{windows + chrome + "Safari/537.36", "Chrome on Windows"},
		{windows + chrome + "Safari/537.36 Edg/126.0.0.0", "Edge on Windows"},
		{windows + chrome + "Safari/537.36 OPR/112.0.0.0", "Opera on Windows"},
		{"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15", "Safari on macOS"},
		{"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox on Linux"},
		{"Mozilla/5.0 (X11; Linux x86_64" + chrome + "Safari/537.36", "Chrome on Linux"},
		{"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0" + chrome + "Safari/537.36", "Chrome on ChromeOS"},
		{android + "Pixel 7" + chrome + "Mobile Safari/537.36", "Chrome on Android (Pixel 7)"},
		{android + "K" + chrome + "Mobile Safari/537.36", "Chrome on Android"},
		{"Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox on Android"},
		{iPhone + "Version/17.5 Mobile/15E148 Safari/604.1", "Safari on iPhone"},
		{iPhone + "CriOS/126.0.6478.54 Mobile/15E148 Safari/604.1", "Chrome on iPhone"},
		{"curl/8.5.0", "curl"},
		{"python-requests/2.31.0", "python-requests"},
		{"okhttp/4.12.0", "okhttp"},
		{"Go-http-client/1.1", "Go-http-client"},
		{"MyApp/1.0 (iPhone; iOS 17.5; Scale/3.00)", "MyApp on iPhone"},
		{windows + ")", "Unknown browser on Windows"},

		{"", "Unknown device"},
		{"Mozilla/5.0", "Unknown device"},
		{"-", "Unknown device"},
		{"12345", "Unknown device"},
		{"()();/;;", "Unknown device"},
		{"This is your own telephone, do not worry", "Unknown device"},
		{strings.Repeat("a", 200) + "/1.0", "Unknown device"},
		{"cu\u202erl/8\x00.5", "curl"},
		{"\xff\xfe", "Unknown device"},
	} {
		if got := device(c.userAgent); got != c.want {
			t.Errorf("%.60q: %q, want %q", c.userAgent, got, c.want)
		}
	}
}

// FuzzDevice: the words come from whoever logs in. They stay short, printable, and never empty.
func FuzzDevice(f *testing.F) {
	for _, seed := range []string{"", "curl/8.5.0", "Mozilla/5.0 (Linux; Android 14; Pixel 7) AppleWebKit/537.36 Chrome/126 Mobile Safari/537.36", "Android", "a (Android", "CrOS x86_64 1/", "http://x/ [;:"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, userAgent string) {
		got := device(userAgent)
		if got == "" || utf8.RuneCountInString(got) > 3*maxDeviceWord+10 || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q", userAgent, got)
		}
	})
}
