package config_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gatehouse/config"
)

func TestEnvironment(t *testing.T) {
	t.Parallel()
	c := mustLoad(t, "upstream: http://127.0.0.1:3000\nredis: {db: 1, addresses: [a:1]}\nsession: {cookie: {secure: true}}\ntrusted_proxies: [10.0.0.0/8]\npages: {title: Shop}\n",
		"GATEHOUSE_REDIS_PASSWORD= hunter2 ",
		"GATEHOUSE_REDIS_ADDRESSES=b:1, c:2",
		"GATEHOUSE_REDIS_DB=0",
		"GATEHOUSE_TRUSTED_PROXIES=192.0.2.0/24,::1",
		"GATEHOUSE_SESSION_IDLE=2h",
		"GATEHOUSE_SESSION_COOKIE_SECURE=false",
		"GATEHOUSE_LOGIN_APP_VAULT=a,b",
		"GATEHOUSE_LOGIN_APP_SUCCESS_STATUS=302,303",
		"GATEHOUSE_LOGIN_APP_IDENTITY_FIELDS_USERID=id",
		"GATEHOUSE_LIMITS_MAX_BODY=1MiB",
		"GATEHOUSE_LOGIN_LIMITS_PER_ADDRESS=1/s",
		"GATEHOUSE_PUBLIC_URL=https://app.example.com",
		"GATEHOUSE_PAGES_TITLE=",
		"GATEHOUSE_LISTEN=:1", "GATEHOUSE_LISTEN=:2",
		"OTHER=1", "GATEHOUSE", "GATEHOUSES_X=1",
	)
	for _, x := range []struct {
		name      string
		got, want any
	}{
		{"secret with spaces", c.Redis.Password.Reveal(), " hunter2 "},
		{"list", c.Redis.Addresses, []string{"b:1", "c:2"}},
		{"number", c.Redis.DB, 0},
		{"CIDRs", dump(c.TrustedProxies), `["192.0.2.0/24","::1/128"]`},
		{"duration", c.Session.Idle, 2 * time.Hour},
		{"boolean", c.Session.Cookie.Secure, false},
		{"name follows", c.Session.Cookie.Name, "gatehouse"},
		{"vault", c.Login.App.Vault, config.Vault{Names: []string{"a", "b"}}},
		{"numbers", c.Login.App.Success.Status, []int{302, 303}},
		{"camel case", c.Login.App.Identity.Fields.UserID, "id"},
		{"size", c.Limits.MaxBody, config.MiB},
		{"rate", c.Login.Limits.PerAddress, config.Rate{Events: 1, Per: time.Second}},
		{"url", c.PublicURL.Host, "app.example.com"},
		{"last one wins", c.Listen, ":2"},
		{"empty is not set", c.Pages.Title, "Shop"},
	} {
		if dump(x.got) != dump(x.want) {
			t.Errorf("%s: got %s, want %s", x.name, dump(x.got), dump(x.want))
		}
	}
	if c := mustLoad(t, minimal, "GATEHOUSE_LOGIN_APP_VAULT=none"); c.Login.App.Vault.HTTPOnly || c.Login.App.Vault.Names != nil {
		t.Errorf("vault none: %+v", c.Login.App.Vault)
	}
}

// Each key with a variable can be set by it, whatever its type.
func TestEveryKeyHasAWorkingVariable(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range config.Keys() {
		if k.Env == "" || seen[k.Env] {
			if seen[k.Env] {
				t.Errorf("%s stands for two keys", k.Env)
			}
			continue
		}
		seen[k.Env] = true
		// The value is wrong for every type but text, so a variable that is not read shows.
		if k.Type == "text" || k.Type == "list of text" || k.Type == "secret" || k.Type == "httponly, none or list of text" {
			continue
		}
		_, err := load(t, minimal, k.Env+"=@")
		if err == nil {
			t.Errorf("%s=@ was not looked at", k.Env)
			continue
		}
		if got := problems(t, err); len(got) != 1 || got[0][:len(k.Env)] != k.Env {
			t.Errorf("%s: got %q", k.Env, got)
		}
	}
	if len(seen) < 60 {
		t.Errorf("only %d variables", len(seen))
	}
}

func TestEnvironmentProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, env, want string }{
		{"typo", "GATEHOUSE_REDIS_PASWORD=hunter2", "GATEHOUSE_REDIS_PASWORD: is not a known variable; did you mean GATEHOUSE_REDIS_PASSWORD?"},
		{"unknown", "GATEHOUSE_COMPLETELY_DIFFERENT_THING=1", "GATEHOUSE_COMPLETELY_DIFFERENT_THING: is not a known variable; delete it; variables are named after the keys, such as GATEHOUSE_REDIS_PASSWORD for redis.password"},
		{"unknown and empty", "GATEHOUSE_REDIS_DBB=", "GATEHOUSE_REDIS_DBB: is not a known variable; did you mean GATEHOUSE_REDIS_DB?"},
		{"rules", "GATEHOUSE_RULES=/admin", "GATEHOUSE_RULES: rules cannot be set by environment; write them into the config file"},
		{"in rules", "GATEHOUSE_RULES_0_PATH=/admin", "GATEHOUSE_RULES_0_PATH: rules cannot be set by environment; write them into the config file"},
		{"number", "GATEHOUSE_REDIS_DB=two", `GATEHOUSE_REDIS_DB: redis.db: "two" is not a whole number; write a number such as 0`},
		{"boolean", "GATEHOUSE_SESSION_COOKIE_SECURE=maybe", `GATEHOUSE_SESSION_COOKIE_SECURE: session.cookie.secure: "maybe" is neither true nor false; write true or false`},
		{"number in list", "GATEHOUSE_LOGIN_APP_SUCCESS_STATUS=302,x", `GATEHOUSE_LOGIN_APP_SUCCESS_STATUS: login.app.success.status: "x" is not a whole number; write a number such as 200`},
		{"duration", "GATEHOUSE_SESSION_IDLE=7d", `GATEHOUSE_SESSION_IDLE: session.idle: "7d" is in days, which is no unit here; write 168h`},
		{"entry", "GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8,x", `GATEHOUSE_TRUSTED_PROXIES: trusted_proxies[1]: "x" is not an address range; write an address range such as 10.0.0.0/8, or one address`},
		{"empty entry", "GATEHOUSE_REDIS_ADDRESSES=a:1,", `GATEHOUSE_REDIS_ADDRESSES: redis.addresses[1]: is empty; write host:port`},
		{"validation", "GATEHOUSE_ADMIN_LISTEN=0.0.0.0:9090", `GATEHOUSE_ADMIN_LISTEN: admin.listen: "0.0.0.0:9090" can be reached from other machines, and it asks for no login; write 127.0.0.1:9090, or set admin.token_file`},
		{"password file", "GATEHOUSE_REDIS_PASSWORD_FILE=/none/x", `GATEHOUSE_REDIS_PASSWORD_FILE: redis.password_file: "/none/x" does not exist; check the path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := load(t, minimal, c.env)
			if got := problems(t, err); !slices.Equal(got, []string{c.want}) {
				t.Errorf("\n got %q\nwant %q", got, c.want)
			}
		})
	}
}

// Kubernetes and Docker describe a service named gatehouse in variables of that prefix.
func TestServiceVariablesAreNoProblem(t *testing.T) {
	t.Parallel()
	mustLoad(t, minimal,
		"GATEHOUSE_SERVICE_HOST=10.0.0.1", "GATEHOUSE_SERVICE_PORT=80", "GATEHOUSE_SERVICE_PORT_HTTP=80",
		"GATEHOUSE_PORT=tcp://10.0.0.1:80", "GATEHOUSE_PORT_80_TCP=tcp://10.0.0.1:80", "GATEHOUSE_PORT_80_TCP_PROTO=tcp",
		"GATEHOUSE_PORT_80_TCP_PORT=80", "GATEHOUSE_PORT_80_TCP_ADDR=10.0.0.1", "GATEHOUSE_REDIS_SERVICE_HOST=10.0.0.2")
	if _, err := load(t, minimal, "GATEHOUSE_PORT=8080"); err == nil {
		t.Error("a port somebody meant to set was ignored")
	}
}

func TestSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "password")
	for text, want := range map[string]string{"hunter2": "hunter2", "hunter2\n": "hunter2", "hunter2\r\n": "hunter2", " a\nb \n\n": " a\nb \n"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := mustLoad(t, minimal, "GATEHOUSE_REDIS_PASSWORD_FILE="+file).Redis.Password.Reveal(); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	_, err := load(t, minimal+"redis: {password_file: "+file+"}\n", "GATEHOUSE_REDIS_PASSWORD=x")
	if got := problems(t, err); !slices.Equal(got, []string{"config.yaml:2: redis.password_file: is set beside redis.password, which says the same; delete one of them"}) {
		t.Errorf("both: got %q", got)
	}
}

func TestOverrides(t *testing.T) {
	t.Parallel()
	options := config.Options{File: "testdata/good_file.yaml", Env: []string{"GATEHOUSE_LISTEN=:2", "GATEHOUSE_LOGIN_FILE_PATH=env.yaml"},
		Overrides: map[string]any{"listen": ":3", "Upstream": "http://a:1", "redis.db": 4, "redis.addresses": []string{"b:1"},
			"session.cookie.secure": true, "outage.serve_known_for": 5 * time.Second, "hosts": "a,b", "log.level": nil}}
	c, err := config.Load(options)
	if err != nil {
		t.Fatal(err)
	}
	got := dump([]any{c.Listen, c.Upstream.String(), c.Redis.DB, c.Redis.Addresses, c.Session.Cookie.Secure, c.Outage.ServeKnownFor, c.Hosts, c.Log.Level, c.Login.File.Path})
	want := dump([]any{":3", "http://a:1", 4, []string{"b:1"}, true, 5 * time.Second, []string{"a", "b"}, "info", "env.yaml"})
	if got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
}

func TestWithoutFile(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{Env: []string{}, Overrides: map[string]any{"upstream": "http://127.0.0.1:3000"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Upstream.String() != "http://127.0.0.1:3000" || c.Login.File.Path != "users.yaml" {
		t.Errorf("got %s, %s", c.Upstream, c.Login.File.Path)
	}
	for _, x := range []struct {
		name      string
		overrides map[string]any
		want      []string
	}{
		{"nothing", nil, []string{"upstream: is missing; write where the application listens, such as upstream: http://127.0.0.1:3000"}},
		{"wrong", map[string]any{"upstream": "127.0.0.1:3000"}, []string{`--upstream: upstream: "127.0.0.1:3000" has no scheme (http://, https://, h2c://, h2:// or unix:); write http://127.0.0.1:3000`}},
		{"empty", map[string]any{"upstream": ""}, []string{`--upstream: upstream: is missing; write where the application listens, such as upstream: http://127.0.0.1:3000`}},
		{"wrong type", map[string]any{"upstream": "http://a:1", "redis.db": 1.5}, []string{"--redis.db: redis.db: has a value of the type float64; give it as text, in the form of the config file"}},
		{"unknown", map[string]any{"upstream": "http://a:1", "redis": 1}, []string{"--redis: redis: is not a known key; name a key of the config file, such as redis.password"}},
	} {
		_, err := config.Load(config.Options{Env: []string{}, Overrides: x.overrides})
		if got := problems(t, err); !slices.Equal(got, x.want) {
			t.Errorf("%s: got %q, want %q", x.name, got, x.want)
		}
	}
}

// Without Options.Env the process's own environment counts.
func TestProcessEnvironment(t *testing.T) {
	t.Setenv("GATEHOUSE_UPSTREAM", "http://127.0.0.1:3999")
	c, err := config.Load(config.Options{})
	if err != nil || c.Upstream.String() != "http://127.0.0.1:3999" {
		t.Errorf("got %v, %v", c, err)
	}
}
