package pages_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/telemetry"
)

func newPages(t *testing.T, cfg config.Pages) *pages.Pages {
	t.Helper()
	p, err := pages.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// request is a navigation of a browser, with an id as the proxy gives it.
func request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r.WithContext(telemetry.WithRequest(r.Context(), &telemetry.Request{ID: "req-7", Host: "app.example.com"}))
}

// node is a parsed page with short ways to ask for things.
type node struct{ *html.Node }

func parse(t *testing.T, body *bytes.Buffer) node {
	t.Helper()
	root, err := html.Parse(bytes.NewReader(body.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	return node{root}
}

func (n node) all(element string) (found []node) {
	for c := range n.Descendants() {
		if c.Type == html.ElementNode && c.Data == element {
			found = append(found, node{c})
		}
	}
	return found
}

func (n node) one(t *testing.T, element string) node {
	t.Helper()
	found := n.all(element)
	if len(found) != 1 {
		t.Fatalf("%d <%s>, want 1", len(found), element)
	}
	return found[0]
}

func (n node) get(key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

func (n node) text() string {
	var b strings.Builder
	for c := range n.Descendants() {
		if c.Type == html.TextNode {
			b.WriteString(c.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func (n node) input(t *testing.T, name string) node {
	t.Helper()
	for _, in := range n.all("input") {
		if in.get("name") == name {
			return in
		}
	}
	t.Fatalf("no input %q", name)
	return node{}
}
