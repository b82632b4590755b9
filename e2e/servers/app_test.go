//go:build apps

package servers

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/testserver"
)

// app is an application on a running server. It has the areas below, and a page that says who the caller is.
type app struct {
	// name and how say what serves it; name stands in the document's tables, so it is short.
	name, how string
	// version of the server.
	version string
	addr    string
	// whoami is the path of the page that says id=[what the application's natural way of reading X-User-Id gives].
	whoami string
	// fresh: past the gateway, each request gets a connection of its own. On one that it has kept, the server gives no answer to
	// what it cannot parse.
	fresh bool
}

// client goes past the gateway.
func (a *app) client() *client {
	c := newClient(a.addr)
	c.fresh = a.fresh
	return c
}

// area is a part of the application: a prefix, and who may see it.
type area struct{ path, says string }

// What areas say. secret is in whatever needs a session.
const (
	secret        = "SECRET"
	secretSession = secret + "-FOR-USERS"  // whoever is logged in
	secretRole    = secret + "-FOR-ADMINS" // whoever has the role admin
	public        = "PUBLIC-AREA"
)

// areas are those the rules of the gateway name (gatewayConfig), longest path first. The words are those of
// package hostile.
var areas = func() []area {
	all := []area{
		{"/public", public}, {"/public/secret", secretRole}, {"/account", secretSession}, {"/admin", secretRole}, {"/admin/health", public},
		{"/api", public}, {"/api/private", secretSession}, {"/keys", secretSession}, {"/files", public}, {"/files/secret", secretRole},
	}
	slices.SortFunc(all, func(a, b area) int { return cmp.Compare(len(b.path), len(a.path)) })
	return all
}()

// writeAreas writes the areas for applications to read: a line each, path and what it says.
func writeAreas(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, a := range areas {
		fmt.Fprintf(&b, "%s %s\n", a.path, a.says)
	}
	return writeFile(t, filepath.Join(dir, "areas"), b.String())
}

// writeTree makes a document root of the areas as folders, each with an index of this name and two files. Areas inside
// areas are folders in folders.
func writeTree(t *testing.T, dir, index string) string {
	t.Helper()
	writeAreas(t, dir)
	root := filepath.Join(dir, "root")
	for _, a := range areas {
		for _, name := range []string{index, "x", "a.b"} {
			writeFile(t, filepath.Join(root, a.path, name), a.says+"\n")
		}
	}
	return root
}

// readableDir is a folder of the test's that servers may read which change their user when root starts them.
func readableDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// copyInto copies files of testdata.
func copyInto(t *testing.T, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, filepath.Base(name)), string(text))
	}
}

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	// Apache and PHP-FPM read as somebody else (readableDir).
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// launch runs a server on n free ports and waits until each of them serves the public area. It ends with the test.
func launch(t *testing.T, n int, command func(ports []string) *exec.Cmd) (ports []string) {
	t.Helper()
	return launchUntil(t, n, command, serving)
}

// launchFastCGI runs a server that speaks FastCGI.
func launchFastCGI(t *testing.T, command func(port string) *exec.Cmd) (port string) {
	t.Helper()
	return launchUntil(t, 1, func(ports []string) *exec.Cmd { return command(ports[0]) }, func(ports []string) error {
		conn, err := net.Dial("tcp", "127.0.0.1:"+ports[0])
		if err == nil {
			conn.Close()
		}
		return err
	})[0]
}

func launchUntil(t *testing.T, n int, command func(ports []string) *exec.Cmd, ready func(ports []string) error) (ports []string) {
	t.Helper()
	var log string
	for range 3 { // between choosing a port and binding it another program may take it
		ports, log = freePorts(t, n), filepath.Join(t.TempDir(), "log")
		cmd := command(ports)
		cmd.Env = append(cmd.Environ(), "LC_ALL=C.UTF-8")
		// Apache ends by a signal to its process group, which must not be the test's.
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		p, err := testserver.Begin(cmd, log)
		if err != nil {
			t.Fatalf("%v; `make test-apps` installs the servers", err)
		}
		if err = p.Await(func() error { return ready(ports) }); err == nil {
			t.Cleanup(func() {
				end(p)
				if t.Failed() {
					t.Logf("the log of %s:\n%s", filepath.Base(cmd.Path), lastOf(testserver.Log(log)))
				}
			})
			return ports
		}
		end(p)
		t.Logf("%s: %v", cmd, err)
	}
	t.Fatalf("the server does not start:\n%s", lastOf(testserver.Log(log)))
	return nil
}

// end ends a server and its workers.
func end(p *testserver.Process) {
	_ = p.Signal(syscall.SIGTERM)
	select {
	case <-p.Done:
	case <-time.After(testserver.Patience):
	}
	_ = syscall.Kill(-p.Pid, syscall.SIGKILL)
	<-p.Done
}

func lastOf(log string) string { return log[max(0, len(log)-5000):] }

func freePorts(t *testing.T, n int) (ports []string) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close() // not before all are chosen, or two could be the same
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

func serving(ports []string) error {
	for _, port := range ports {
		c := newClient("127.0.0.1:" + port)
		got := c.get("/public/", "")
		c.close()
		if !strings.Contains(got.raw, public) {
			return fmt.Errorf("port %s answers %q", port, got.raw)
		}
	}
	return nil
}

// versionOf runs a program and takes its version out of what it prints.
func versionOf(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	version := regexp.MustCompile(`\d+(\.\d+)+`).FindString(string(out))
	if err != nil || version == "" {
		t.Fatalf("%s %s does not tell its version: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return version
}

// sbin finds a daemon, which may not be on the path of whoever runs the tests.
func sbin(t *testing.T, patterns ...string) string {
	t.Helper()
	for _, pattern := range patterns {
		if found, _ := filepath.Glob(pattern); len(found) > 0 {
			return found[len(found)-1]
		}
	}
	t.Fatalf("none of %v is installed; `make test-apps` installs the servers", patterns)
	return ""
}
