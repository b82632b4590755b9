package e2e

import (
	"bufio"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"gatehouse/internal/testcert"
	"gatehouse/internal/testredis"
)

// securityCase is one numbered case: what a client does, and what must come of it.
type securityCase struct {
	name string // number and a few words: H01_owned_headers_are_deleted
	// over are the versions of HTTP it runs over, each as a sub-test: both, onlyH1 or onlyH2.
	over []string
	run  func(t *testing.T, s *setup)
}

// stage is what all cases share: a Redis, and a gateway of each version with nothing but baseConfig.
type stage struct {
	store  *testredis.Server
	tls    string // the `tls:` section of gateways that are to speak HTTP/2
	app    *app
	shared map[string]*gateway
}

var caseGroups = [][]securityCase{headerCases, headerProtocolCases, pathCases, protocolCases, framingCases, timeCases, repeatCases, sessionCases, loginCases, interceptionCases}

// TestCases runs the numbered cases against the built binary, and holds the numbers against
// docs/security-cases.md.
func TestCases(t *testing.T) {
	st := newStage(t)
	var mu sync.Mutex
	table, ran := make(map[string]string), make(map[string][]string)
	t.Cleanup(func() { compareWithDocument(t, table, ran) })
	for _, group := range caseGroups {
		for _, c := range group {
			number, _, _ := strings.Cut(c.name, "_")
			if table[number] != "" {
				t.Errorf("case %s stands there twice", number)
			}
			table[number] = protocols(c.over)
			s := setup{redis: st.store, stage: st, number: number}
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				for _, version := range c.over {
					t.Run(version, func(t *testing.T) {
						s.begin(t, version)
						mu.Lock()
						ran[number] = append(ran[number], version)
						mu.Unlock()
						c.run(t, &s)
					})
				}
			})
		}
	}
}

func newStage(t *testing.T) *stage {
	cert, key := testcert.Write(t, t.TempDir())
	st := &stage{store: testredis.Start(t), app: startApp(t, nil), tls: fmt.Sprintf("tls: {cert_file: %q, key_file: %q}\n", cert, key)}
	cfg := baseConfig(st.app.url, space{st.store, prefix()}.section())
	st.shared = map[string]*gateway{overH1: start(t, cfg, withUsers()), overH2: start(t, cfg+st.tls, withUsers())}
	return st
}

// protocols writes versions as the document does.
func protocols(over []string) string {
	return strings.NewReplacer(overH1, "1.1", overH2, "2").Replace(strings.Join(over, ", "))
}

// documentRow is a row of the document's tables: number, request, answer, why, protocols, test.
var documentRow = regexp.MustCompile(`(?m)^\| ([A-Z]\d\d)(?: \S+)? \|(.*)\|$`)

// compareWithDocument: what the document says is tested was, and the other way round.
func compareWithDocument(t *testing.T, table map[string]string, ran map[string][]string) {
	text, err := os.ReadFile(filepath.Join("..", "docs", "security-cases.md"))
	if err != nil {
		t.Error(err)
		return
	}
	written := make(map[string]string)
	for _, m := range documentRow.FindAllStringSubmatch(string(text), -1) {
		cells := strings.Split(strings.ReplaceAll(m[2], `\|`, "¦"), "|")
		if written[m[1]] != "" || len(cells) != 5 {
			t.Errorf("docs/security-cases.md: %s stands there twice, or has %d cells for 5", m[1], len(cells))
			continue
		}
		for i, cell := range cells {
			if strings.TrimSpace(cell) == "" {
				t.Errorf("docs/security-cases.md: %s: cell %d is empty", m[1], i+2)
			}
		}
		if !strings.HasPrefix(strings.TrimSpace(cells[4]), "TestCases/"+m[1]) {
			t.Errorf("docs/security-cases.md: %s: its test is said to be %s", m[1], cells[4])
		}
		written[m[1]] = strings.TrimSpace(cells[3])
	}
	// With -run TestCases/H01 the others do not run.
	part := strings.Contains(flag.Lookup("test.run").Value.String(), "/") || flag.Lookup("test.skip").Value.String() != ""
	for _, number := range slices.Sorted(maps.Keys(table)) {
		if written[number] != table[number] {
			t.Errorf("%s runs over HTTP %s, docs/security-cases.md says %q", number, table[number], written[number])
		}
		if over := protocols(ran[number]); over != table[number] && !part {
			t.Errorf("%s ran over %q, want %s", number, over, table[number])
		}
	}
	for number := range written {
		if table[number] == "" {
			t.Errorf("docs/security-cases.md has %s, no test bears that number", number)
		}
	}
	t.Logf("%d cases: %s", len(ran), strings.Join(slices.Sorted(maps.Keys(ran)), " "))
}

// section is a `redis:` section with keys of its own on the shared Redis.
func (s *setup) section() string { return s.space().section() }

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
