//go:build apps

package servers

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// startNode starts Node's own server and Express.
func startNode(t *testing.T) []*app {
	dir := t.TempDir()
	list := writeAreas(t, dir)
	// Express and what it needs, in the versions of the application in e2e/apps/express.
	for _, name := range []string{"package.json", "package-lock.json"} {
		text, err := os.ReadFile(filepath.Join("..", "apps", "express", name))
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(dir, name), string(text))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm ci: %v (npm comes with `make test-apps`; the packages come from npm's registry)\n%s", err, out)
	}
	copyInto(t, dir, "node.js", "express.js")
	root := writeTree(t, filepath.Join(dir, "files"), "index.html")
	at := func(script string) string {
		return "127.0.0.1:" + launch(t, 1, func(ports []string) *exec.Cmd {
			cmd := exec.Command("node", script)
			cmd.Dir = dir
			cmd.Env = append(cmd.Environ(), "PORT="+ports[0], "AREAS="+list, "ROOT="+filepath.Join(root, "files"), "NODE_ENV=production")
			return cmd
		})[0]
	}
	express := exec.CommandContext(ctx, "node", "-p", `require("express/package.json").version`)
	express.Dir = dir
	version, err := express.Output()
	if err != nil {
		t.Fatal(err)
	}
	return []*app{
		{name: "Node", how: "`new URL(req.url)`, decoded and normalised", version: versionOf(t, "node", "--version"), addr: at("node.js"), whoami: "/whoami"},
		{name: "Express", how: "`app.use` for each area, `express.static`", version: strings.TrimSpace(string(version)), addr: at("express.js"), whoami: "/whoami"},
	}
}

// startPython starts one WSGI application on two servers, and Django.
func startPython(t *testing.T) []*app {
	const python = "/usr/bin/python3" // the system's, for which apt-get installs; another may come first on the path
	list := writeAreas(t, t.TempDir())
	at := func(command func(port string) []string) string {
		return "127.0.0.1:" + launch(t, 1, func(ports []string) *exec.Cmd {
			args := command(ports[0])
			cmd := exec.Command(args[0], args[1:]...)
			cmd.Dir = "testdata"
			cmd.Env = append(cmd.Environ(), "AREAS="+list, "PYTHONDONTWRITEBYTECODE=1")
			return cmd
		})[0]
	}
	gunicorn := func(module string) string {
		return at(func(port string) []string {
			return []string{python, "-m", "gunicorn", "--bind", "127.0.0.1:" + port, "--worker-class", "gthread", "--threads", "4", "--log-level", "critical", module}
		})
	}
	return []*app{
		{name: "wsgiref", how: "a WSGI application on `PATH_INFO`", version: versionOf(t, python, "--version"),
			addr: at(func(port string) []string { return []string{python, "wsgi_app.py", port} }), whoami: "/whoami"},
		{name: "gunicorn", how: "the same application", version: versionOf(t, python, "-m", "gunicorn", "--version"), addr: gunicorn("wsgi_app"), whoami: "/whoami"},
		{name: "Django", how: "on gunicorn, patterns with `(?i)`", version: versionOf(t, python, "-m", "django", "--version"), addr: gunicorn("django_app"), whoami: "/whoami"},
	}
}

// startRack starts Puma with a Rack application.
func startRack(t *testing.T) []*app {
	list := writeAreas(t, t.TempDir())
	port := launch(t, 1, func(ports []string) *exec.Cmd {
		cmd := exec.Command("puma", "--quiet", "--environment", "production", "--threads", "4:4", "--bind", "tcp://127.0.0.1:"+ports[0], "config.ru")
		cmd.Dir = "testdata"
		cmd.Env = append(cmd.Environ(), "AREAS="+list)
		return cmd
	})[0]
	return []*app{{name: "Rack, Puma", how: "`map` for each area", version: versionOf(t, "puma", "--version"), addr: "127.0.0.1:" + port, whoami: "/whoami", fresh: true}}
}

// startGo starts the server every Go application has.
func startGo(t *testing.T) []*app {
	mux := http.NewServeMux()
	mux.HandleFunc("/whoami", func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "id=[%s]\n", r.Header.Get("X-User-Id")) })
	for _, a := range areas {
		says := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, a.says) }
		mux.HandleFunc(a.path, says)
		mux.HandleFunc(a.path+"/", says)
	}
	s := httptest.NewServer(mux)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return []*app{{name: "Go", how: "`http.ServeMux`", version: strings.TrimPrefix(runtime.Version(), "go"), addr: s.Listener.Addr().String(), whoami: "/whoami"}}
}
