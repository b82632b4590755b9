package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"gatehouse/internal/testserver"
)

// webServer is a real web server on the README's example for it, which asks the gateway about each request.
type webServer struct {
	dialect string
	url     string
	addr    string
}

// readmeExample gives the README's only example in a language, with the addresses of a test in it.
func readmeExample(t *testing.T, language string, replace ...string) string {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "```"+language+"\n")
	example, after, closed := strings.Cut(rest, "```")
	if !ok || !closed || strings.Contains(after, "```"+language+"\n") {
		t.Fatalf("the README has not exactly one example for %s", language)
	}
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(example, replace[i]) {
			t.Fatalf("the README's example for %s has no %q", language, replace[i])
		}
		example = strings.ReplaceAll(example, replace[i], replace[i+1])
	}
	return example
}

// webServers start the servers. Each gives the command that runs it, on its own config in dir.
var webServers = map[string]func(t *testing.T, dir, gateway, app, addr string) *exec.Cmd{
	"nginx": func(t *testing.T, dir, gateway, app, addr string) *exec.Cmd {
		example := readmeExample(t, "nginx", "127.0.0.1:8080", gateway, "127.0.0.1:3000", app, "listen 443 ssl;", "listen "+addr+";", "server_name app.example.com;", "",
			"ssl_certificate     /etc/ssl/app.example.com/fullchain.pem;", "", "ssl_certificate_key /etc/ssl/app.example.com/privkey.pem;", "")
		user := ""
		if os.Getuid() == 0 {
			user = "user root;\n"
		}
		var folders strings.Builder
		for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&folders, "%s_temp_path %s;\n", kind, filepath.Join(dir, kind))
		}
		// One process: workers would outlive a master that is killed.
		writeFile(t, filepath.Join(dir, "nginx.conf"), user+"daemon off; master_process off;\npid "+filepath.Join(dir, "pid")+";\nerror_log stderr info;\nevents {}\nhttp {\naccess_log off;\n"+folders.String()+example+"}\n")
		return exec.Command(installed(t, "nginx"), "-p", dir, "-c", filepath.Join(dir, "nginx.conf"), "-e", "stderr")
	},
	"caddy": func(t *testing.T, dir, gateway, app, addr string) *exec.Cmd {
		example := readmeExample(t, "caddyfile", "127.0.0.1:8080", gateway, "127.0.0.1:3000", app, "app.example.com {", "http://"+addr+" {\n\tbind 127.0.0.1\n")
		writeFile(t, filepath.Join(dir, "Caddyfile"), "{\n\tadmin off\n\tauto_https off\n}\n"+example)
		cmd := exec.Command(installed(t, "caddy"), "run", "--adapter", "caddyfile", "--config", filepath.Join(dir, "Caddyfile"))
		cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
		return cmd
	},
}

// installed finds a program, in sbin too, which is not on everybody's path.
func installed(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil {
		return path
	}
	path := filepath.Join("/usr/sbin", name)
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s is not installed: run make test, it installs what the tests need", name)
	}
	return path
}

// startWebServer starts one, and ends it with the test.
func startWebServer(t *testing.T, dialect, gateway, app string) *webServer {
	t.Helper()
	dir := t.TempDir()
	log := filepath.Join(dir, "log")
	var process *testserver.Process
	end := func() {
		if process != nil {
			process.End()
		}
	}
	var addr string
	err := testserver.OnFreePort(t, func(port int) (err error) {
		addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
		if process, err = testserver.Begin(webServers[dialect](t, dir, gateway, app, addr), log); err != nil {
			return err
		}
		return process.Await(func() error {
			conn, err := net.Dial("tcp", addr)
			if err == nil {
				_ = conn.Close()
			}
			return err
		})
	}, end)
	if err != nil {
		t.Fatalf("%s: %v\n%s", dialect, err, testserver.Log(log))
	}
	t.Cleanup(func() {
		end()
		if t.Failed() {
			t.Logf("the log of %s:\n%s", dialect, testserver.Log(log))
		}
		said.add(testserver.Log(log)) // S04
	})
	return &webServer{dialect: dialect, url: "http://" + addr, addr: addr}
}
