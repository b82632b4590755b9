// Package deploy_test holds the files people deploy with to what the program needs of them. They
// cannot all be run in a test, so their essentials are read.
package deploy_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"gatehouse/config"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// instruction is one line of a Dockerfile, continuation lines joined.
type instruction struct{ name, rest string }

// stages cuts a Dockerfile at each FROM.
func stages(t *testing.T) (found [][]instruction) {
	t.Helper()
	text := regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(read(t, "../Dockerfile"), "")
	text = strings.ReplaceAll(text, "\\\n", " ")
	for line := range strings.Lines(text) {
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		if name == "" {
			continue
		}
		if name == "FROM" {
			found = append(found, nil)
		}
		if len(found) == 0 {
			t.Fatalf("%q before FROM", line)
		}
		found[len(found)-1] = append(found[len(found)-1], instruction{name, strings.TrimSpace(rest)})
	}
	return found
}

// one gives the only instruction of a name in a stage.
func one(t *testing.T, stage []instruction, name string) string {
	t.Helper()
	var rests []string
	for _, in := range stage {
		if in.name == name {
			rests = append(rests, in.rest)
		}
	}
	if len(rests) != 1 {
		t.Fatalf("%d %s, want 1", len(rests), name)
	}
	return rests[0]
}

// words reads the exec form, ["a", "b"]: there is no shell for the other one.
func words(t *testing.T, text string) (list []string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		t.Fatalf("%q is not the exec form: %v", text, err)
	}
	return list
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	all := stages(t)
	if len(all) != 2 {
		t.Fatalf("%d stages, want 2", len(all))
	}
	build, final := all[0], all[1]

	goVersion := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(read(t, "../go.mod"))[1]
	if from := one(t, build, "FROM"); from != "golang:"+goVersion+" AS build" {
		t.Errorf("built from %q, but go.mod says go %s", from, goVersion)
	}
	compile := ""
	for _, in := range build {
		if in.name == "RUN" && strings.Contains(in.rest, "go build") {
			compile = in.rest
		}
	}
	for _, part := range []string{"CGO_ENABLED=0", "-trimpath", "-X gatehouse/command.version=", "-o /out/gatehouse ."} {
		if !strings.Contains(compile, part) {
			t.Errorf("the build has no %s: %s", part, compile)
		}
	}

	if from := one(t, final, "FROM"); from != "scratch" {
		t.Errorf("final image from %q", from)
	}
	if user := one(t, final, "USER"); !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(user) {
		t.Errorf("USER %q: want numbers that are not root's (names need a passwd file, orchestrators check numbers)", user)
	}
	if entry := words(t, one(t, final, "ENTRYPOINT")); !slices.Equal(entry, []string{"/gatehouse"}) {
		t.Errorf("ENTRYPOINT %q", entry)
	}
	if command := words(t, one(t, final, "CMD")); !slices.Equal(command, []string{"serve", "--config", "/etc/gatehouse/gatehouse.yaml", "--listen", "0.0.0.0:8080"}) {
		t.Errorf("CMD %q", command)
	}
	if port := one(t, final, "EXPOSE"); port != "8080" {
		t.Errorf("EXPOSE %q", port)
	}
	_, check, ok := strings.Cut(one(t, final, "HEALTHCHECK"), "CMD ")
	if want := []string{"/gatehouse", "healthcheck", "--url", "http://127.0.0.1:8080/.gatehouse/healthz"}; !ok || !slices.Equal(words(t, check), want) {
		t.Errorf("HEALTHCHECK %q", check)
	}
	for _, in := range final {
		if in.name == "COPY" && !strings.HasPrefix(in.rest, "--from=build ") {
			t.Errorf("COPY %s takes something into the image that was not built", in.rest)
		}
	}
}

// TestDockerignore: what the build reads is not ignored, what must not get into a layer is.
func TestDockerignore(t *testing.T) {
	t.Parallel()
	ignored := strings.Fields(regexp.MustCompile(`(?m)^#.*\n`).ReplaceAllString(read(t, "../.dockerignore"), ""))
	for _, name := range []string{".git", "bin", "users.yaml", ".env"} {
		if !slices.Contains(ignored, name) {
			t.Errorf("%s is sent to the build", name)
		}
	}
	for _, name := range []string{"main.go", "go.mod", "go.sum", "command", "config", "login", "pages", "proxy", "ratelimit", "sample", "session", "telemetry"} {
		for _, pattern := range ignored {
			if match, err := filepath.Match(pattern, name); err != nil || match {
				t.Errorf("%s is kept from the build by %q (%v)", name, pattern, err)
			}
		}
	}
}

type service struct {
	Image    string
	Command  []string
	Ports    []string
	Volumes  []string
	Networks []string
	ReadOnly bool                    `yaml:"read_only"`
	CapDrop  []string                `yaml:"cap_drop"`
	Security []string                `yaml:"security_opt"`
	Grace    string                  `yaml:"stop_grace_period"`
	Health   struct{ Test []string } `yaml:"healthcheck"`
}

func TestCompose(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]service
		Networks map[string]struct{ Internal bool }
		Volumes  map[string]any
	}
	if err := yaml.Unmarshal([]byte(read(t, "../compose.yaml")), &compose); err != nil {
		t.Fatal(err)
	}
	gateway, app, redis := compose.Services["gateway"], compose.Services["app"], compose.Services["redis"]

	if !slices.Equal(gateway.Ports, []string{"127.0.0.1:8080:8080"}) {
		t.Errorf("the gateway's ports: %q, want loopback only: it speaks plain http there", gateway.Ports)
	}
	for name, s := range map[string]service{"app": app, "redis": redis} {
		if len(s.Ports) > 0 || !slices.Equal(s.Networks, []string{"inside"}) || !compose.Networks["inside"].Internal {
			t.Errorf("%s can be reached around the gateway: ports %q, networks %q", name, s.Ports, s.Networks)
		}
	}
	for name, s := range map[string]service{"gateway": gateway, "app": app} {
		if !s.ReadOnly || !slices.Contains(s.CapDrop, "ALL") || !slices.Contains(s.Security, "no-new-privileges:true") {
			t.Errorf("%s has more rights than it needs: %+v", name, s)
		}
	}
	if !strings.HasPrefix(redis.Image, "redis:7") || !strings.Contains(strings.Join(redis.Command, " "), "--appendonly yes") {
		t.Errorf("%s %q: a restart of Redis would log everybody out", redis.Image, redis.Command)
	}
	if len(redis.Volumes) != 1 || !strings.HasPrefix(redis.Volumes[0], "redis:/data") {
		t.Errorf("Redis keeps its data in %q", redis.Volumes)
	}
	if !slices.Equal(app.Command, []string{"sample", "--listen", "0.0.0.0:3000"}) {
		t.Errorf("the app runs %q", app.Command)
	}
	// The image's own HEALTHCHECK asks port 8080, where the application does not listen.
	if want := []string{"CMD", "/gatehouse", "healthcheck", "--url", "http://127.0.0.1:3000/"}; !slices.Equal(app.Health.Test, want) {
		t.Errorf("the app's health: %q", app.Health.Test)
	}
	grace, err := time.ParseDuration(gateway.Grace)
	if err != nil || grace <= config.Default().ShutdownTimeout {
		t.Errorf("stop_grace_period %q is not longer than shutdown_timeout", gateway.Grace)
	}
	for _, volume := range gateway.Volumes {
		file, rest, _ := strings.Cut(volume, ":")
		if _, err := os.Stat(filepath.Join("..", file)); err != nil || rest != "/etc/gatehouse/gatehouse.yaml:ro" {
			t.Errorf("volume %q: %v", volume, err)
		}
	}
}

func TestComposeSettings(t *testing.T) {
	t.Parallel()
	cfg, err := config.Load(config.Options{File: "compose/gatehouse.yaml", Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, got, want string }{
		{"listen", cfg.Listen, "0.0.0.0:8080"},
		{"upstream", cfg.Upstream.String(), "http://app:3000"},
		{"redis", strings.Join(cfg.Redis.Addresses, " "), "redis:6379"},
		{"backend", cfg.Login.Backend, "app"},
		{"whoami", cfg.Login.App.Identity.WhoamiPath, "/api/me"},
		{"cookie", cfg.Session.Cookie.Name, "gatehouse"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %q, want %q", c.what, c.got, c.want)
		}
	}
	protected := map[string]string{}
	for _, r := range cfg.Rules {
		protected[r.Path] = string(r.Access) + " " + strings.Join(r.Roles, ",")
	}
	if protected["/admin"] != "protected admin" || protected["/account"] != "protected " {
		t.Errorf("rules %v", protected)
	}
}

func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	settings := map[string]string{}
	for line := range strings.Lines(read(t, "systemd/gatehouse.service")) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(key, "#") {
			settings[key] = value
		}
	}
	for key, want := range map[string]string{
		"User": "gatehouse", "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "CapabilityBoundingSet": "",
		"Restart": "always", "ExecStart": "/usr/local/bin/gatehouse serve --config /etc/gatehouse/gatehouse.yaml",
	} {
		if got, ok := settings[key]; !ok || got != want {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
	if stop, err := time.ParseDuration(settings["TimeoutStopSec"]); err != nil || stop <= config.Default().ShutdownTimeout {
		t.Errorf("TimeoutStopSec=%s is not longer than shutdown_timeout: %v", settings["TimeoutStopSec"], err)
	}
}

// TestNginx: each line, when missing, breaks something quietly.
func TestNginx(t *testing.T) {
	t.Parallel()
	text := regexp.MustCompile(`[ \t]+`).ReplaceAllString(read(t, "nginx.conf"), " ")
	for line, without := range map[string]string{
		"proxy_set_header Host $http_host;":                "redirects and origin checks see 127.0.0.1",
		"proxy_set_header X-Forwarded-For $remote_addr;":   "the client chooses the address it is limited by",
		"proxy_set_header X-Forwarded-Host $http_host;":    "the client's own claim goes through",
		"proxy_set_header X-Forwarded-Proto $scheme;":      "the gateway takes https for http",
		`proxy_set_header Forwarded "";`:                   "the client's own claim goes through",
		"proxy_set_header Connection $connection_upgrade;": "WebSocket fails",
		"proxy_set_header Upgrade $http_upgrade;":          "WebSocket fails",
		"proxy_http_version 1.1;":                          "no keep-alive, no WebSocket",
		"proxy_pass http://gatehouse;":                     "the path is rewritten before it is judged",
		"proxy_buffering off;":                             "server-sent events arrive late",
		"proxy_request_buffering off;":                     "uploads are stored first",
		"merge_slashes off;":                               "another path is judged than was sent",
	} {
		if !strings.Contains(text, "\n "+line) {
			t.Errorf("no %q: %s", line, without)
		}
	}
	if strings.Count(text, "{") != strings.Count(text, "}") {
		t.Error("braces do not match")
	}
	// Outside comments: appending would keep what the client claims.
	if regexp.MustCompile(`(?m)^[^#]*proxy_add_x_forwarded_for`).MatchString(text) {
		t.Error("X-Forwarded-For is appended to")
	}
}

// TestReadmeTraefik: there is no Traefik to run here, so its example's essentials are read. The other web servers' run in e2e.
func TestReadmeTraefik(t *testing.T) {
	t.Parallel()
	block := regexp.MustCompile("(?s)```yml\n(.*?)```").FindStringSubmatch(read(t, "../README.md"))
	if block == nil {
		t.Fatal("no example for Traefik in the README")
	}
	var example struct {
		HTTP struct {
			Middlewares map[string]struct {
				ForwardAuth map[string]any `yaml:"forwardAuth"`
			}
			Routers map[string]struct {
				Rule, Service string
				Middlewares   []string
			}
		}
	}
	if err := yaml.Unmarshal([]byte(block[1]), &example); err != nil {
		t.Fatal(err)
	}
	auth := example.HTTP.Middlewares["gatehouse"].ForwardAuth
	copied := []any{}
	for _, h := range config.Default().Headers {
		copied = append(copied, h.Name)
	}
	for option, want := range map[string]any{
		"address":                  "http://127.0.0.1:8080/.gatehouse/verify",
		"authResponseHeaders":      append(copied, "Cookie"), // else the client's own reach the application
		"addAuthCookiesToResponse": []any{config.Default().Session.Cookie.DefaultName()},
	} {
		if !reflect.DeepEqual(auth[option], want) {
			t.Errorf("%s: %v, want %v", option, auth[option], want)
		}
		delete(auth, option)
	}
	if len(auth) > 0 {
		t.Errorf("trustForwardHeader or authRequestHeaders would keep the gateway from seeing what is asked about: %v", auth)
	}
	routers := example.HTTP.Routers
	if app := routers["app"]; app.Service != "app" || len(app.Middlewares) == 0 || app.Middlewares[0] != "gatehouse" {
		t.Errorf("the application's router: %+v", app)
	}
	if own := routers["gatehouse"]; own.Service != "gatehouse" || len(own.Middlewares) > 0 ||
		!strings.Contains(own.Rule, "PathPrefix(`/.gatehouse/`)") || !strings.Contains(own.Rule, "Path(`/login`)") || !strings.Contains(own.Rule, "Path(`/logout`)") {
		t.Errorf("the gateway's router: %+v", own)
	}
}

func TestCaddyfile(t *testing.T) {
	t.Parallel()
	text := read(t, "Caddyfile")
	for _, line := range []string{"\treverse_proxy 127.0.0.1:8080 {\n", "\t\tflush_interval -1\n", "\t\theader_up -Forwarded\n"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q", line)
		}
	}
	// Caddy sets these rightly by itself; setting them here would only undo that.
	if regexp.MustCompile(`(?m)^[^#]*X-Forwarded-`).MatchString(text) {
		t.Error("an X-Forwarded header is set by hand")
	}
}
