package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testpostgres"
)

// TestUsersAreReadAgain: what changes in the user file reaches people who are logged in, on both replicas, and who is
// disabled there is logged out, open streams included.
func TestUsersAreReadAgain(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	users := filepath.Join(t.TempDir(), "users.yaml")
	good := usersYAML()
	writeFile(t, users, good)
	app := startHTTPApp(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/account/events" {
			fmt.Fprintf(w, "user=%s role=%s name=%s", r.Header.Get("X-User-Id"), r.Header.Get("X-User-Role"), r.Header.Get("X-User-Name"))
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			fmt.Fprint(w, "data: tick\n\n")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(20 * time.Millisecond)
		}
	}))
	cfg := strings.Replace(baseConfig(app, sp.section()), "file: {path: users.yaml}", fmt.Sprintf("file: {path: %q, refresh: 1s}", users), 1)
	here, there := start(t, cfg, options{}), start(t, cfg, options{})
	ada := newBrowser(t, here.url)
	ada.login(adminEmail, adminPassword)
	both := map[string]*browser{"here": ada, "there": holder(t, there, ada.token())}
	uma := holder(t, there, signIns(t, 1, userEmail, userPassword, here)[0])
	for name, b := range both {
		if got := b.get("/admin"); got.StatusCode != 200 || !strings.Contains(got.body, "role=admin") {
			t.Fatalf("%s, as admin: %s %s", name, got.Status, got.body)
		}
	}
	// A file in the middle of being written is not believed.
	writeFile(t, users, "")
	writeFile(t, users, strings.Replace(good, "role: admin", "role: member", 1))
	for name, b := range both {
		eventually(t, "the new role "+name, func() bool {
			got := b.get("/account")
			if got.StatusCode != 200 {
				t.Fatalf("%s: %s", name, got.Status)
			}
			return strings.Contains(got.body, "role=member")
		})
		if got := b.get("/admin"); got.StatusCode != 403 {
			t.Errorf("%s, no longer admin: %s", name, got.Status)
		}
	}
	stream := follow(t, there.url+"/account/events", ada.token())
	before := sp.commands(t)["set"]
	read := metricSum(t, `gatehouse_user_refreshes_total{outcome="unchanged"}`, here, there)
	eventually(t, "the user to be read again", func() bool {
		for _, b := range both {
			b.get("/account")
		}
		return metricSum(t, `gatehouse_user_refreshes_total{outcome="unchanged"}`, here, there) >= read+4
	})
	if n := sp.commands(t)["set"] - before; n != 0 {
		t.Errorf("a user who has not changed was written %d times", n)
	}

	writeFile(t, users, strings.Replace(good, "role: admin", "role: member, disabled: true", 1))
	for name, b := range both {
		eventually(t, "the login page "+name, func() bool {
			got := b.get("/account")
			return got.StatusCode == 303 && strings.HasPrefix(got.location(), "/login")
		})
	}
	select {
	case <-stream.Done():
	case <-time.After(15 * time.Second):
		t.Error("the stream goes on")
	}
	if got := uma.get("/account"); got.StatusCode != 200 || !strings.Contains(got.body, "role=user") {
		t.Errorf("another user: %s %s", got.Status, got.body)
	}
	if sp.number(t, "ZCARD", sp.index("1")) != 0 {
		t.Error("the sessions are still in the index")
	}
	// An emptied list is a list that was lost.
	writeFile(t, users, "users: []\n")
	eventually(t, "the empty list to be seen", func() bool {
		return len(there.entries(map[string]any{"error": "login: the user file holds no users"})) > 0 || uma.get("/account").StatusCode != 200
	})
	if got := uma.get("/account"); got.StatusCode != 200 {
		t.Errorf("without any user in the file: %s", got.Status)
	}
}

// follow reads a stream until it ends, which the context tells.
func follow(t *testing.T, url, token string) context.Context {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "gatehouse="+token)
	resp, err := plainClient(t).Do(req)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("a stream: %v, %v", resp, err)
	}
	over, end := context.WithCancel(context.Background())
	go func() {
		defer end()
		defer resp.Body.Close()
		_, _ = io.Copy(io.Discard, resp.Body)
	}()
	return over
}

// TestUsersTableIsReadAgain: the same from the application's users table, and a table that is not there logs nobody out.
func TestUsersTableIsReadAgain(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	url := testpostgres.NewDatabase(t)
	hash := strings.SplitN(strings.SplitN(usersYAML(), `password_hash: "`, 2)[1], `"`, 2)[0] // of adminPassword
	testpostgres.Exec(t, url, fmt.Sprintf(`CREATE TABLE users (id uuid PRIMARY KEY, email text, name text, email_verified boolean, role text, password_hash text, disabled boolean);
		INSERT INTO users VALUES ('0190f6c2-5d1f-7abc-8def-0123456789ab', '%s', 'Ada', true, 'admin', '%s', false)`, adminEmail, hash))
	dir := t.TempDir()
	secret := filepath.Join(dir, "url")
	if err := os.WriteFile(secret, []byte(url), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := strings.Replace(baseConfig(whoApp(t), sp.section()), "  backend: file\n", `  backend: database
  database:
    query: SELECT * FROM users WHERE email = $1
    refresh: 1s
    refresh_query: SELECT * FROM users WHERE id = $1
`, 1) + fmt.Sprintf("database: {url_file: %q, timeout: 5s}\n", secret)
	g := start(t, cfg, options{})
	ada := newBrowser(t, g.url)
	ada.login(adminEmail, adminPassword)
	if got := ada.get("/admin"); got.StatusCode != 200 {
		t.Fatalf("as admin: %s", got.Status)
	}
	testpostgres.Exec(t, url, "UPDATE users SET role = 'member'")
	eventually(t, "the new role", func() bool { return ada.get("/admin").StatusCode == 403 })
	testpostgres.Exec(t, url, "ALTER TABLE users RENAME TO elsewhere")
	eventually(t, "the missing table to be told", func() bool {
		if got := ada.get("/account"); got.StatusCode != 200 {
			t.Fatalf("without the table: %s", got.Status)
		}
		return strings.Contains(g.output(), "refresh_query does not work")
	})
	testpostgres.Exec(t, url, "ALTER TABLE elsewhere RENAME TO users; UPDATE users SET disabled = true")
	eventually(t, "the login page", func() bool { return ada.get("/account").StatusCode == 303 })
}
