package config_test

import (
	"errors"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
)

// load reads YAML text with an environment of its own.
func load(t *testing.T, text string, env ...string) (*config.Config, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return config.Load(config.Options{File: file, Env: append([]string{}, env...)})
}

func mustLoad(t *testing.T, text string, env ...string) *config.Config {
	t.Helper()
	c, err := load(t, text, env...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// problems are those of an error that must be an *Errors with the file's folder cut off.
func problems(t *testing.T, err error) []string {
	t.Helper()
	var e *config.Errors
	if !errors.As(err, &e) || len(e.Problems) == 0 {
		t.Fatalf("no problems but %v", err)
	}
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		if p.File != "" {
			p.File = filepath.Base(p.File)
		}
		lines[i] = p.String()
	}
	return lines
}

const minimal = "upstream: http://127.0.0.1:3000\n"

// Each bad file has one mistake, and the exact message in its first lines.
func TestBadFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/bad_*.yaml")
	if err != nil || len(files) < 150 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			for line := range strings.Lines(string(data)) {
				if w, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "# want: "); ok {
					want = append(want, w)
				}
			}
			_, err = config.Load(config.Options{File: file, Env: []string{}})
			if err == nil {
				t.Fatal("loaded")
			}
			var got []string
			for line := range strings.SplitSeq(err.Error(), "\n") {
				got = append(got, strings.TrimSpace(strings.TrimPrefix(line, file+":")))
			}
			if !slices.Equal(got, want) {
				t.Errorf("\n got %s\nwant %s", strings.Join(got, "\n     "), strings.Join(want, "\n     "))
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("shows a password")
			}
		})
	}
}

// Numbered security cases, with the file that proves each.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, file, says string }{
		{"H04_catch_all_proxy", "proxies_all", "every address"},
		{"H04_catch_all_proxy_v6", "proxies_all_v6", "every address"},
		{"H04_catch_all_mapped", "proxies_mapped", "IPv4 range"},
		{"H04_half_of_all", "proxies_half", "strangers"},
		{"H02_underscore_header", "header_name", "alike"},
		{"P12_glob", "rule_glob", "/admin/x.css"},
		{"P12_suffix", "rule_suffix", "/admin/x.css"},
		{"P12_unanchored", "rule_anchor_end", "regular expression"},
		{"P07_same_path_other_case", "rule_case", "only in case"},
		{"P04_connect", "methods_connect", "tunnel"},
		{"S01_host_prefix_with_domain", "cookie_host_domain", "domain"},
		{"S01_host_prefix_insecure", "cookie_host_insecure", "secure"},
		{"I03_no_mark", "app_no_success", "every answer"},
		{"X08_upstream_is_itself", "upstream_itself", "own address"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load(config.Options{File: "testdata/bad_" + c.file + ".yaml", Env: []string{}})
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestGoodFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/good_*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, file := range files {
		c, err := config.Load(config.Options{File: file, Env: []string{}})
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s does not validate again: %v", file, err)
		}
	}
}

func good(t *testing.T, name string) *config.Config {
	t.Helper()
	c, err := config.Load(config.Options{File: "testdata/good_" + name + ".yaml", Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaults(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"minimal", "nothing_set"} {
		c := good(t, name)
		want := config.Default()
		want.Upstream = c.Upstream
		want.Session.Cookie.Name = "__Host-gatehouse"
		want.Login.File.Path = "testdata/users.yaml"
		if got, want := dump(c), dump(want); got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
}

// Every value arrives in its type, and host names in the form they are compared in.
func TestValues(t *testing.T) {
	t.Parallel()
	app, file, signed := good(t, "app"), good(t, "file"), good(t, "assertion")
	no := false
	for _, c := range []struct {
		name      string
		got, want any
	}{
		{"upstream", app.Upstream.String(), "https://app.internal:8443"},
		{"ca file", app.UpstreamTLS.CAFile, "testdata/ca.pem"},
		{"public url", app.PublicURL.String(), "https://app.example.com"},
		{"hosts", app.Hosts, []string{"app.example.com", "10.0.0.1"}},
		{"proxies", app.TrustedProxies, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8")}},
		{"origins", app.TrustedOrigins, []string{"https://www.example.com", "http://localhost:5173"}},
		{"default", app.Default, config.Public},
		{"rule access", app.Rules[0].Access, config.Protected},
		{"rule roles", app.Rules[1].Roles, []string{"admin", "2"}},
		{"rule utf-8", app.Rules[3].Path, "/über uns"},
		{"rule upstream", app.Rules[4].Upstream.Socket, "/run/foo.sock"},
		{"h2c upstream", app.Rules[5].Upstream, &config.Upstream{URL: &url.URL{Scheme: "http", Host: "rpc.internal:50051"}, HTTP2: true}},
		{"h2 upstream", app.Rules[6].Upstream, &config.Upstream{URL: &url.URL{Scheme: "https", Host: "rpc.internal"}, HTTP2: true}},
		{"h2c as text", app.Rules[5].Upstream.String(), "h2c://rpc.internal:50051"},
		{"h2 as text", app.Rules[6].Upstream.String(), "h2://rpc.internal"},
		{"http1 otherwise", app.Upstream.HTTP2, false},
		{"websocket", app.Rules[4].WebSocket, &no},
		{"no websocket", app.Rules[4].AllowsWebSocket(), false},
		{"websocket by default", app.Rules[0].AllowsWebSocket(), true},
		{"encoded slashes", app.Rules[4].EncodedSlashes, true},
		{"login path", app.Login.Path, "/accounts/login/"},
		{"success", app.Login.App.Success, config.AppSuccess{Status: []int{302, 303}, Location: []string{"/dashboard"}, Header: "X-Login: ok", JSONField: "user.ok=true", ContentType: "text/html"}},
		{"fields", app.Login.App.Identity.Fields, config.IdentityFields{UserID: "user.id", EmailVerified: "verified"}},
		{"vault", app.Login.App.Vault, config.Vault{Names: []string{"sessionid", "remember_me"}}},
		{"size", app.Login.App.MaxResponse, config.Size(10_000_000)},
		{"duration", app.Session.Idle, 90 * time.Minute},
		{"cookie", app.Session.Cookie, config.Cookie{Name: "gatehouse", Secure: true, SameSite: "strict", Domain: "example.com"}},
		{"password as written", app.Redis.Password.Reveal(), "0123"},
		{"absolute file", app.Redis.TLS.CertFile, "/etc/c.pem"},
		{"zero duration", app.Outage.ServeKnownFor, time.Duration(0)},
		{"no headers", len(app.Headers), 0},
		{"no limit", app.Limits.MaxBody, config.Size(0)},
		{"socket", file.Upstream.Socket, "/run/app.sock"},
		{"socket host", file.Upstream.URL.Host, "localhost"},
		{"user file", file.Login.File.Path, "testdata/people/users.yaml"},
		{"rate", file.Login.Limits.PerAccount, config.Rate{Events: 100, Per: time.Hour}},
		{"insecure cookie", file.Session.Cookie.Name, "gatehouse"},
		{"embedded", file.Redis.Embedded(), true},
		{"password file", file.Redis.Password.Reveal(), "hunter2"},
		{"assertion", signed.Assertion, config.Assertion{Header: "X-Signed-User", Algorithm: "ES256", KeyFile: "testdata/keys.pem", Audience: "shop", Lifetime: 2 * time.Minute}},
		{"issuer", signed.IssuerOf(), "https://app.example.com"},
		{"secret header", signed.IdentitySecretHeader.Secret.Reveal(), "0123456789abcdef0123456789abcdef"},
		{"headers replace the default", file.Headers, []config.Header{{Name: "Authorization", Value: "userId", Encoding: "percent"}, {Name: "Remote-User", Value: "email", Encoding: "raw-utf8"}}},
	} {
		if got, want := dump(c.got), dump(c.want); got != want {
			t.Errorf("%s: got %s, want %s", c.name, got, want)
		}
	}
}

func TestFileItself(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "config.yaml: upstream: is missing; write where the application listens, such as upstream: http://127.0.0.1:3000"},
		{"null", "~\n", "config.yaml: upstream: is missing; write where the application listens, such as upstream: http://127.0.0.1:3000"},
		{"not UTF-8", minimal + "# \xff\n", "config.yaml:2: holds bytes that are not UTF-8; save the file as UTF-8"},
		{"large", strings.Repeat("#\n", 600_000), "is larger than 1 MiB"},
		{"large and broken", minimal + strings.Repeat("# comment\n", 5000) + "log: [\n", "config.yaml:500"},
		{"second document broken", minimal + "---\n[", "config.yaml:3: is not YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, c.text)
			if got := problems(t, err); len(got) != 1 || !strings.Contains(got[0], c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		t.Parallel()
		_, err := config.Load(config.Options{File: "testdata/none.yaml", Env: []string{}})
		if err == nil || err.Error() != `testdata/none.yaml: "testdata/none.yaml" does not exist; check the path` {
			t.Errorf("got %v", err)
		}
	})
}

func TestPositionAndSource(t *testing.T) {
	t.Parallel()
	_, err := load(t, minimal+"rules:\n  - path: admin\n", "GATEHOUSE_REDIS_DB=x")
	var e *config.Errors
	if !errors.As(err, &e) || len(e.Problems) != 2 {
		t.Fatalf("got %v", err)
	}
	if p := e.Problems[0]; p.Path != "rules[0].path" || p.Line != 3 || p.Column != 11 || p.Source != config.SourceFile || p.Name != "" || p.Fix != `write "/admin"` {
		t.Errorf("got %+v", p)
	}
	if p := e.Problems[1]; p.Path != "redis.db" || p.Line != 0 || p.File != "" || p.Source != config.SourceEnv || p.Name != "GATEHOUSE_REDIS_DB" {
		t.Errorf("got %+v", p)
	}
}
