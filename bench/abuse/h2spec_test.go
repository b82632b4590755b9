//go:build h2spec

package abuse

import (
	"encoding/xml"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// report is h2spec's, in JUnit's form.
type report struct {
	Suites []struct {
		Package string `xml:"package,attr"`
		Cases   []struct {
			Name    string    `xml:"classname,attr"`
			Failure *struct{} `xml:"failure"`
			Error   *struct{} `xml:"error"`
			Skipped *struct{} `xml:"skipped"`
		} `xml:"testcase"`
	} `xml:"testsuite"`
}

// h2spec gives the cases that a server fails, and how many it passes.
func h2spec(t *testing.T, program, addr string) (failed []string, passed int) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "report.xml")
	// It exits with 1 when a case fails; the report says which.
	out, _ := exec.Command(program, "-h", host, "-p", port, "-t", "-k", "-o", "5", "-j", file).CombinedOutput()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	var r report
	if err := xml.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	for _, suite := range r.Suites {
		for _, c := range suite.Cases {
			switch {
			case c.Failure != nil || c.Error != nil:
				failed = append(failed, suite.Package+": "+c.Name)
			case c.Skipped == nil:
				passed++
			}
		}
	}
	if passed < 100 {
		t.Fatalf("%d cases passed, this shows nothing:\n%s", passed, out)
	}
	return failed, passed
}

// TestH2spec: the TLS listener fails nothing of h2spec that net/http by itself passes. `make h2spec` runs it, apart from the
// other tests: it waits most of a minute for what must not happen.
func TestH2spec(t *testing.T) {
	program := filepath.Join(t.TempDir(), "h2spec")
	build := exec.Command("go", "build", "-C", "h2spec", "-o", program, "github.com/summerwind/h2spec/cmd/h2spec")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building h2spec: %v\n%s", err, out)
	}
	plain := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("an answer")) }))
	plain.EnableHTTP2 = true
	plain.StartTLS()
	t.Cleanup(plain.Close)
	g := setup{app: startApp(t).url, tls: true}.start(t)

	plain.Config.ErrorLog = log.New(io.Discard, "", 0)
	itself, _ := h2spec(t, program, plain.Listener.Addr().String())
	failed, passed := h2spec(t, program, g.addr)
	// On a busy machine a case may fail for being late; one that fails always is the gateway's.
	for range 2 {
		if !slices.ContainsFunc(failed, func(c string) bool { return !slices.Contains(itself, c) }) {
			break
		}
		again, _ := h2spec(t, program, g.addr)
		failed = slices.DeleteFunc(failed, func(c string) bool { return !slices.Contains(again, c) })
	}
	t.Logf("%d passed, %d failed", passed, len(failed))
	for _, c := range failed {
		if slices.Contains(itself, c) {
			t.Logf("failed by net/http too: %s", c)
		} else {
			t.Errorf("failed, and not by net/http: %s", c)
		}
	}
	for _, c := range itself {
		if !slices.Contains(failed, c) {
			t.Logf("failed by net/http alone: %s", c)
		}
	}
}
