package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"gatehouse/internal/testredis"
)

// securityCase is one numbered case: what a client does, and what must come of it.
type securityCase struct {
	name string // number and a few words: H01_owned_headers_are_deleted
	run  func(t *testing.T, s *setup)
}

// setup is what a case works with: a gateway of its own in front of a recording application, over a
// Redis that all cases share.
type setup struct {
	redis *testredis.Server
}

// TestCases runs the numbered cases against the built binary.
func TestCases(t *testing.T) {
	s := &setup{redis: testredis.Start(t)}
	ran := make(map[string]bool)
	for _, group := range [][]securityCase{headerCases, pathCases, protocolCases, sessionCases, loginCases, interceptionCases} {
		for _, c := range group {
			number, _, _ := strings.Cut(c.name, "_")
			if ran[number] {
				t.Errorf("case %s stands there twice", number)
			}
			ran[number] = true
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				c.run(t, s)
			})
		}
	}
	for _, want := range casesNow() {
		if !ran[want] {
			t.Errorf("case %s has no test", want)
		}
	}
}

// casesNow are the numbers that must have a test here. X15 (a panic) cannot be brought about from
// outside: its test is in package proxy.
func casesNow() []string {
	var out []string
	for _, group := range []struct {
		letter string
		spans  [][2]int
	}{
		{"H", [][2]int{{1, 5}, {9, 11}}},
		{"P", [][2]int{{1, 14}}},
		{"X", [][2]int{{2, 5}, {7, 7}, {9, 9}, {11, 11}, {13, 14}}},
		{"S", [][2]int{{1, 13}}},
		{"L", [][2]int{{1, 7}}},
		{"I", [][2]int{{1, 9}}},
	} {
		for _, span := range group.spans {
			for n := span[0]; n <= span[1]; n++ {
				out = append(out, fmt.Sprintf("%s%02d", group.letter, n))
			}
		}
	}
	return out
}

// section is a `redis:` section with keys of its own on the shared Redis.
func (s *setup) section() string { return s.space().section() }

// gateway starts a gateway with baseConfig and more in front of a recording application.
func (s *setup) gateway(t *testing.T, more string) (*gateway, *app) {
	t.Helper()
	a := startApp(t, nil)
	return start(t, baseConfig(a.url, s.section())+more, withUsers()), a
}

// one sends one raw request on a connection of its own and gives the answer.
func one(t *testing.T, g *gateway, requestLine string, headers ...string) *http.Response {
	t.Helper()
	text := requestLine + "\r\nHost: " + g.addr + "\r\nConnection: close\r\n"
	for _, h := range headers {
		text += h + "\r\n"
	}
	return parse(t, raw(t, g.addr, text+"\r\n"))
}

// parse reads the first answer out of what came back.
func parse(t *testing.T, text string) *http.Response {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(strings.NewReader(text)), nil)
	if err != nil {
		t.Fatalf("no answer: %v in %q", err, text)
	}
	return resp
}

// cookieHeader is the header line that carries the browser's session.
func cookieHeader(b *browser) string { return "Cookie: gatehouse=" + b.token() }
