package pages_test

import (
	"net/http/httptest"
	"strings"
	"testing"

	"gatehouse/pages"
)

func TestWantsJSON(t *testing.T) {
	t.Parallel()
	const browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	for _, c := range []struct {
		name    string
		headers string // separated by |
		want    bool
	}{
		{"browser", "Accept: " + browser, false},
		{"browser navigates", "Accept: " + browser + "|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: document", false},
		{"frame navigates", "Accept: " + browser + "|Sec-Fetch-Mode: navigate|Sec-Fetch-Dest: iframe", false},
		{"fetch", "Accept: */*|Sec-Fetch-Mode: cors|Sec-Fetch-Dest: empty", true},
		{"fetch for HTML", "Accept: text/html|Sec-Fetch-Mode: same-origin", true},
		{"image", "Accept: image/png,*/*|Sec-Fetch-Mode: no-cors", true},
		{"WebSocket", "Sec-Fetch-Mode: websocket", true},
		{"dest alone: empty", "Sec-Fetch-Dest: empty", true},
		{"dest alone: document", "Sec-Fetch-Dest: document", false},
		{"dest alone: script", "Sec-Fetch-Dest: script|Accept: " + browser, true},
		{"XHR library", "Accept: " + browser + "|X-Requested-With: XMLHttpRequest", true},
		{"XHR library, odd case", "X-Requested-With: xmlhttprequest", true},
		{"Android WebView", "Accept: " + browser + "|X-Requested-With: com.example.app", false},
		{"navigation for JSON", "Accept: application/json|Sec-Fetch-Mode: navigate", true},

		{"curl", "Accept: */*", false},
		{"no Accept", "", false},
		{"empty Accept", "Accept: ", false},
		{"JSON", "Accept: application/json", true},
		{"JSON, odd case", "Accept: Application/JSON", true},
		{"problem JSON", "Accept: application/problem+json", true},
		{"axios", "Accept: application/json, text/plain, */*", true},
		{"jQuery", "Accept: application/json, text/javascript, */*; q=0.01", true},
		{"application/*", "Accept: application/*", true},
		{"both alike", "Accept: application/json, text/html", false},
		{"HTML better", "Accept: application/json;q=0.5, text/html;q=0.9", false},
		{"JSON better", "Accept: text/html;q=0.5, application/json;q=0.9", true},
		{"JSON refused", "Accept: application/json;q=0, */*", false},
		{"HTML refused", "Accept: */*, text/html;q=0", true},
		{"precise range wins", "Accept: text/*;q=0.1, text/html, application/json;q=0.5", false},
		{"text wildcard", "Accept: text/*", false},
		{"event stream", "Accept: text/event-stream", true},
		{"image only", "Accept: image/*", true},
		{"two lines", "Accept: text/html;q=0.2|Accept: application/json", true},
		{"broken q", "Accept: text/html;q=zebra, application/json;q=0.5", false},
		{"q out of range", "Accept: text/html;q=0.5, application/json;q=-3", true},
		{"NaN", "Accept: text/html;q=NaN, application/json;q=0.9", false},
		{"junk", "Accept: ,;;q,=,/", true},
		{"long junk", "Accept: " + strings.Repeat("a/b;q=0.1,", 5000) + "text/html", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			for header := range strings.SplitSeq(c.headers, "|") {
				if name, value, ok := strings.Cut(header, ": "); ok {
					r.Header.Add(name, value)
				}
			}
			if got := pages.WantsJSON(r); got != c.want {
				t.Errorf("%q: %v", c.headers, got)
			}
		})
	}
}
