package config_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"gatehouse/config"

	"go.yaml.in/yaml/v3"
)

const example = "../config.example.yaml"

// The example is a config that works and, so far as it says defaults, tells the truth.
func TestExampleLoads(t *testing.T) {
	t.Parallel()
	c, err := config.Load(config.Options{File: example, Env: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	for _, x := range []struct {
		name      string
		got, want any
	}{
		{"listen", c.Listen, want.Listen}, {"methods", c.Methods, want.Methods}, {"headers", c.Headers, want.Headers},
		{"requests.strip", c.Requests.StripResponseHeaders, want.Requests.StripResponseHeaders}, {"limits", c.Limits, want.Limits}, {"connection_limits", c.ConnectionLimits, want.ConnectionLimits}, {"timeouts", c.Timeouts, want.Timeouts},
		{"log", c.Log, want.Log}, {"outage", c.Outage, want.Outage}, {"login.limits", c.Login.Limits, want.Login.Limits},
		{"vault", c.Login.App.Vault, want.Login.App.Vault}, {"account_fields", c.Login.App.AccountFields, want.Login.App.AccountFields},
		{"redis", c.Redis, want.Redis}, {"idle", c.Session.Idle, want.Session.Idle}, {"absolute", c.Session.Absolute, want.Session.Absolute},
		{"shutdown", c.ShutdownTimeout, want.ShutdownTimeout}, {"proxies", len(c.TrustedProxies), 0},
	} {
		if dump(x.got) != dump(x.want) {
			t.Errorf("%s: got %s, want the default %s", x.name, dump(x.got), dump(x.want))
		}
	}
}

// Every key stands in the example, as it is or as a line that begins with #key:.
func TestExampleIsComplete(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(example)
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile(`(?m)^(\s*)#([a-z_]+:)`).ReplaceAllString(string(data), "$1$2")
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	stands := map[string]bool{}
	collect(doc.Content[0], "", stands)
	for _, k := range config.Keys() {
		if !stands[k.Path] {
			t.Errorf("%s is missing in the example", k.Path)
		}
		delete(stands, k.Path)
	}
	// What is commented out must be right as well.
	text = strings.ReplaceAll(text, `password_file: ""`, "")
	mustLoad(t, text)
}

func collect(n *yaml.Node, path string, stands map[string]bool) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			p := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			stands[p] = true
			collect(n.Content[i+1], p, stands)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			collect(item, path+"[]", stands)
		}
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	keys := map[string]config.KeyInfo{}
	for _, k := range config.Keys() {
		if _, ok := keys[k.Path]; ok {
			t.Errorf("%s stands twice", k.Path)
		}
		keys[k.Path] = k
	}
	for _, want := range []config.KeyInfo{
		{Path: "listen", Type: "text", Default: "127.0.0.1:8080", Env: "GATEHOUSE_LISTEN"},
		{Path: "public_url", Type: "URL", Env: "GATEHOUSE_PUBLIC_URL"},
		{Path: "upstream", Type: "URL", Env: "GATEHOUSE_UPSTREAM"},
		{Path: "trusted_proxies", Type: "list of CIDR", Default: "[]", Env: "GATEHOUSE_TRUSTED_PROXIES"},
		{Path: "rules", Type: "list of section", Default: "[]"},
		{Path: "rules[].path", Type: "text"},
		{Path: "rules[].roles", Type: "list of text"},
		{Path: "rules[].access", Type: "text", Default: "protected"},
		{Path: "rules[].websocket", Type: "boolean", Default: "true"},
		{Path: "headers[].encoding", Type: "text", Default: "percent"},
		{Path: "login.app.success.status", Type: "list of number", Default: "[]", Env: "GATEHOUSE_LOGIN_APP_SUCCESS_STATUS"},
		{Path: "login.app.identity.fields.userId", Type: "text", Env: "GATEHOUSE_LOGIN_APP_IDENTITY_FIELDS_USERID"},
		{Path: "login.app.vault", Type: "httponly, none or list of text", Default: "httponly", Env: "GATEHOUSE_LOGIN_APP_VAULT"},
		{Path: "login.limits.per_address", Type: "rate", Default: "30/m", Env: "GATEHOUSE_LOGIN_LIMITS_PER_ADDRESS"},
		{Path: "session.idle", Type: "duration", Default: "168h", Env: "GATEHOUSE_SESSION_IDLE"},
		{Path: "session.max_per_user", Type: "number", Default: "20", Env: "GATEHOUSE_SESSION_MAX_PER_USER"},
		{Path: "redis.password", Type: "secret", Env: "GATEHOUSE_REDIS_PASSWORD"},
		{Path: "limits.max_body", Type: "size", Default: "1GiB", Env: "GATEHOUSE_LIMITS_MAX_BODY"},
	} {
		if got := keys[want.Path]; got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
}
