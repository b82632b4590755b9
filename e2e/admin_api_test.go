package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// adminToken is the token of the gateways of these tests.
const adminToken = "e2e-0123456789abcdef0123456789abcdef"

// tokenFile puts the token into the config of baseConfig, and the file beside it. The users are not read again, or the file
// would give back the role that the API has taken away.
func tokenFile(config string) (string, options) {
	said.secret(adminToken)
	config = strings.Replace(config, "file: {path: users.yaml}", "file: {path: users.yaml, refresh: 0s}", 1)
	opts := withUsers()
	opts.files["admin.token"] = adminToken + "\n"
	return strings.Replace(config, "admin: {listen: 127.0.0.1:0}", "admin: {listen: 127.0.0.1:0, token_file: admin.token}", 1), opts
}

// operate sends a request to the admin listener.
func (g *gateway) operate(t *testing.T, method, path, body, token string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, g.admin+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := plainClient(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	said.add(string(text))
	return answer{resp, string(text)}
}

// The whole way: what is changed or ended at one gateway's admin listener holds at the other gateway.
func TestAdminAPI(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	cfg, opts := tokenFile(baseConfig(whoApp(t), sp.section()))
	here, there := start(t, cfg, opts), start(t, cfg, opts)
	ada := newBrowser(t, there.url)
	ada.login(adminEmail, adminPassword)
	role := func(want string) func() bool {
		return func() bool { return strings.Contains(ada.get("/account").body, "role="+want+" ") }
	}
	if !role("admin")() || ada.get("/admin").StatusCode != 200 {
		t.Fatal("no admin at first")
	}
	// Its role is taken away: the rules of the other gateway see it, and the application.
	if got := here.operate(t, "PATCH", "/api/v1/users/1/sessions", `{"role":"member"}`, adminToken); got.StatusCode != 200 || strings.TrimSpace(got.body) != `{"changed":1}` {
		t.Fatalf("PATCH: %s %s", got.Status, got.body)
	}
	eventually(t, "the other gateway to refuse /admin", func() bool { return ada.get("/admin").StatusCode == 403 })
	if !role("member")() || ada.at(here).get("/admin").StatusCode != 403 {
		t.Errorf("the application is told %q", ada.get("/account").body)
	}
	here.logged(t, map[string]any{"type": "audit", "event": "change", "user": "1", "client": "127.0.0.1"})
	// And given back.
	there.operate(t, "PATCH", "/api/v1/users/1/sessions", `{"role":"admin"}`, adminToken)
	eventually(t, "the gateway to let it pass again", func() bool { return ada.at(here).get("/admin").StatusCode == 200 })

	var list struct {
		Sessions []struct{ ID, Role, UserAgent string }
	}
	got := here.operate(t, "GET", "/api/v1/users/1/sessions", "", adminToken)
	if err := json.Unmarshal([]byte(got.body), &list); err != nil || len(list.Sessions) != 1 || list.Sessions[0].ID != sessionID(ada.token()) || list.Sessions[0].Role != "admin" {
		t.Fatalf("the list: %s %s", got.Status, got.body)
	}
	for _, path := range []string{"/api/v1/stats", "/api/v1/audit", "/api/v1/export", "/api/v1/openapi.yaml", "/metrics", "/debug/pprof/"} {
		if got := here.operate(t, "GET", path, "", adminToken); got.StatusCode != 200 || strings.Contains(got.body, ada.token()) {
			t.Errorf("%s: %s", path, got.Status)
		}
		if got := here.operate(t, "GET", path, "", ""); got.StatusCode != 401 {
			t.Errorf("%s without the token: %s", path, got.Status)
		}
	}
	second := newBrowser(t, here.url)
	second.login(adminEmail, adminPassword)
	if got := here.operate(t, "DELETE", "/api/v1/sessions/"+list.Sessions[0].ID, "", adminToken); got.StatusCode != 200 {
		t.Fatalf("DELETE: %s %s", got.Status, got.body)
	}
	ended := func(b *browser) func() bool {
		return func() bool {
			return b.at(here).get("/account").StatusCode == 303 && b.at(there).get("/account").StatusCode == 303
		}
	}
	eventually(t, "the session to end at both", ended(ada))
	if second.at(there).get("/account").StatusCode != 200 {
		t.Error("the user's other session has ended too")
	}
	if got := there.operate(t, "DELETE", "/api/v1/users/1/sessions", "", adminToken); strings.TrimSpace(got.body) != `{"ended":1}` {
		t.Errorf("DELETE of all: %s %s", got.Status, got.body)
	}
	eventually(t, "the last session to end at both", ended(second))

	// The token is changed without a restart.
	next := "next-" + adminToken
	said.secret(next)
	writeFile(t, filepath.Join(here.dir, "admin.token"), next)
	eventually(t, "the new token to count", func() bool { return here.operate(t, "GET", "/api/v1/stats", "", adminToken).StatusCode == 401 })
	if got := here.operate(t, "GET", "/api/v1/stats", "", next); got.StatusCode != 200 {
		t.Errorf("the new token: %s", got.Status)
	}
	// The public listener knows nothing of all that.
	if got := newBrowser(t, here.url).get("/api/v1/stats", "Authorization", "Bearer "+next, "Accept", "application/json"); got.StatusCode != 401 || strings.Contains(got.body, "perUser") {
		t.Errorf("the public listener: %s %s", got.Status, got.body)
	}
}

// Without a token there are metrics, and no sessions.
func TestAdminWithoutToken(t *testing.T) {
	t.Parallel()
	g := start(t, baseConfig(whoApp(t), "redis: {addresses: [embedded]}\n"), withUsers())
	if got := g.operate(t, "GET", "/metrics", "", ""); got.StatusCode != 200 {
		t.Errorf("/metrics: %s", got.Status)
	}
	if got := g.operate(t, "GET", "/api/v1/users/1/sessions", "", ""); got.StatusCode != 403 || !strings.Contains(got.body, "admin.token_file") {
		t.Errorf("the sessions: %s %s", got.Status, got.body)
	}
}

// A listener on the network does not come up without a good token.
func TestAdminOnTheNetwork(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "users.yaml"), usersYAML())
	writeFile(t, filepath.Join(dir, "short.token"), "hunter2hunter2")
	for name, c := range map[string]struct{ admin, says string }{
		"no token":     {"{listen: '0.0.0.0:0'}", "can be reached from other machines, and it asks for no login"},
		"every one":    {"{listen: ':9090'}", "or set admin.token_file"},
		"short token":  {"{listen: '0.0.0.0:0', token_file: short.token}", "admin.token_file: has 14 characters, which can be guessed"},
		"missing file": {"{listen: '0.0.0.0:0', token_file: none.token}", "does not exist"},
	} {
		file := filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".yaml")
		text := strings.Replace(baseConfig("http://127.0.0.1:1", "redis: {addresses: [embedded]}\n"), "admin: {listen: 127.0.0.1:0}", "admin: "+c.admin, 1)
		writeFile(t, file, "listen: 127.0.0.1:0\n"+text)
		for _, command := range []string{"serve", "check"} {
			out, code := runCommand(t, "", command, "--config", file)
			if code == 0 || !strings.Contains(out, c.says) || strings.Contains(out, "hunter2") {
				t.Errorf("%s, %s: exit status %d, %s", name, command, code, out)
			}
		}
	}
	// With one it does, and says what to mind.
	cfg, opts := tokenFile(baseConfig(whoApp(t), "redis: {addresses: [embedded]}\n"))
	g := start(t, strings.Replace(cfg, "admin: {listen: 127.0.0.1:0", "admin: {listen: '0.0.0.0:0'", 1), opts)
	port := g.admin[strings.LastIndex(g.admin, ":"):]
	g.admin = fmt.Sprint("http://127.0.0.1", port)
	if got := g.operate(t, "GET", "/metrics", "", adminToken); got.StatusCode != 200 {
		t.Errorf("/metrics: %s", got.Status)
	}
	if got := g.operate(t, "GET", "/metrics", "", ""); got.StatusCode != 401 {
		t.Errorf("/metrics without the token: %s", got.Status)
	}
	if !strings.Contains(g.output(), "can be reached from other machines over plain http") {
		t.Error("no warning")
	}
}
