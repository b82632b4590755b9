package proxy

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// oddTargets are accepted targets that net/url would write differently, or that contain what
// proxies like to tidy up.
func oddTargets() []string {
	targets := []string{
		"/", "/?", "/a?", "/a??", "/a?b?c", "/a//b", "/a/", "/a;b=c/d;e", "/%61dmin", "/caf%c3%a9", "/caf%C3%A9", "/a%20b", "/c%23", "/w%3F?x",
		"/a?a=1;b=2", "/a?a=%zz", "/a?%", "/a?b=[]{}|\\^`\"<>'", "/a?\xff\xe9", "/*", "/a:b", "/:80/x", "/@a", "/a%2Fb%25c", "/a=b&c,d", "/a%7eb", "/-/!$&'()*+,;=:@",
		"/a?" + strings.Repeat("p=1&", 10001),
	}
	for c := byte(' ' + 1); c < 0x7f; c++ {
		if !strings.ContainsRune(`%#\?`, rune(c)) {
			targets = append(targets, "/x"+string(c)+"y", "/x/"+string(c)+"y?q"+string(c))
		}
		targets = append(targets, fmt.Sprintf("/%%%02xz", c), fmt.Sprintf("/%%%02Xz?%%%02x", c, c))
	}
	return targets
}

// TestForwardURL sends odd targets through an httputil.ReverseProxy, over a raw connection, since
// net/http's client would tidy them up, and compares what the application receives.
func TestForwardURL(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("P13_byte_for_byte/http2=%v", http2), func(t *testing.T) {
			t.Parallel()
			proxy := forwardingProxy(t, http2)
			conn, err := net.Dial("tcp", proxy)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			answers := bufio.NewReader(conn)
			sent := 0
			for _, target := range oddTargets() {
				if _, no := JudgeTarget("GET", target); no != nil {
					continue
				}
				sent++
				fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target)
				resp, err := http.ReadResponse(answers, nil)
				if err != nil {
					t.Fatalf("%q: %v", target, err)
				}
				got, err := io.ReadAll(resp.Body)
				if err != nil || resp.StatusCode != http.StatusOK || string(got) != target {
					t.Fatalf("sent %q, the application got %q (status %d, %v)", target, got, resp.StatusCode, err)
				}
			}
			if sent < 350 {
				t.Errorf("only %d targets were accepted: this proves little", sent)
			}
		})
	}
}

// forwardingProxy starts an application that echoes its request target and a proxy in front of it,
// and returns the proxy's address.
func forwardingProxy(t *testing.T, http2 bool) string {
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if http2 != (r.ProtoMajor == 2) {
			w.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
		_, _ = io.WriteString(w, r.RequestURI)
	}))
	app.Config.MaxHeaderBytes = 1 << 20
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, ForceAttemptHTTP2: http2}
	t.Cleanup(transport.CloseIdleConnections)
	if http2 {
		app.EnableHTTP2 = true
		app.StartTLS()
	} else {
		app.Start()
	}
	t.Cleanup(app.Close)
	base, err := url.Parse(app.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Transport: transport,
		Rewrite: func(pr *httputil.ProxyRequest) {
			p, no := JudgeTarget(pr.In.Method, pr.In.RequestURI)
			if no != nil {
				t.Errorf("%q arrived and was refused: %s", pr.In.RequestURI, no.Reason)
			}
			pr.Out.URL = ForwardURL(p, base)
		},
	})
	t.Cleanup(proxy.Close)
	return strings.TrimPrefix(proxy.URL, "http://")
}

func TestForwardURLOfAbsoluteForm(t *testing.T) {
	t.Parallel()
	t.Run("P13_own_host", func(t *testing.T) {
		p := judged(t, "http://other.example/a|b?c")
		u := ForwardURL(p, &url.URL{Scheme: "http", Host: "app:1"})
		if u.Host != "app:1" || u.Scheme != "http" || u.RequestURI() != "/a|b?c" {
			t.Errorf("%+v, request line %q", u, u.RequestURI())
		}
	})
}
