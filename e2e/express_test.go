package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/testpostgres"
)

// shopTimezone is that of the shop's database: not UTC, as few are. connect-pg-simple's column expire has
// none of its own.
const shopTimezone = "America/New_York"

// expressSource is the application, as its people keep it.
const expressSource = "apps/express"

// person is a row of the application's users table.
type person struct {
	id                    int
	email, name, password string
}

// expressApp is the Node application of apps/express over a PostgreSQL of its own.
type expressApp struct {
	url string
	// database is the URL for the application's owner, who may do everything.
	database string
	// gatewayURL is that for the gateway, once it is admitted.
	gatewayURL string
	// secretFile holds the secret its session cookies are signed with.
	secretFile string
	people     []person
}

// startExpress starts the application with so many users, who have the IDs 1 to n.
func startExpress(t *testing.T, users int) *expressApp {
	t.Helper()
	const ownerPassword = "owner-of-the-shop"
	said.secret(ownerPassword)
	server := testpostgres.Start(t, testpostgres.Password(ownerPassword), testpostgres.Flags("-c", "timezone="+shopTimezone))
	a := &expressApp{database: server.URL(), secretFile: filepath.Join(t.TempDir(), "session-secret")}
	const secret = "keyboard cat, as in every tutorial"
	said.secret(secret)
	writeFile(t, a.secretFile, secret+"\n")
	a.createTables(t, users)
	a.listen(t)
	return a
}

// createTables makes the application's tables and its users.
func (a *expressApp) createTables(t *testing.T, users int) {
	t.Helper()
	schema, err := os.ReadFile(filepath.Join(expressSource, "schema.sql"))
	if err != nil {
		t.Fatal(err)
	}
	statements := []string{string(schema)}
	for id := 1; id <= users; id++ {
		p := person{id: id, email: fmt.Sprintf("shopper%d@example.com", id), name: fmt.Sprintf("Shopper %d", id), password: fmt.Sprintf("pa55word of shopper %d", id)}
		said.secret(p.password)
		hash, err := bcrypt.GenerateFromPassword([]byte(p.password), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		a.people = append(a.people, p)
		statements = append(statements, fmt.Sprintf("INSERT INTO users (email, name, email_verified, password_hash) VALUES ('%s', '%s', true, '%s');", p.email, p.name, hash))
	}
	testpostgres.Exec(t, a.database, strings.Join(statements, "\n"))
}

// admitGateway gives the gateway a role of its own, which may read users and do what it likes with sessions.
func (a *expressApp) admitGateway(t *testing.T) {
	t.Helper()
	const password = "gatehouse-role-password"
	said.secret(password)
	testpostgres.Exec(t, a.database, "CREATE ROLE gatehouse LOGIN PASSWORD '"+password+`';
		GRANT SELECT ON users TO gatehouse;
		GRANT SELECT, INSERT, UPDATE, DELETE ON session, gatehouse_epochs TO gatehouse`)
	u, err := url.Parse(a.database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("gatehouse", password)
	a.gatewayURL = u.String()
}

// listen starts Node and waits until the application listens.
func (a *expressApp) listen(t *testing.T) {
	t.Helper()
	cmd := exec.Command("node", "server.js")
	cmd.Dir = expressFolder(t)
	cmd.Env = append(os.Environ(), "PORT=0", "DATABASE_URL="+a.database, "SESSION_SECRET_FILE="+a.secretFile, "NODE_ENV=production")
	// It must not outlive a test binary that is killed.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("the application does not start: %v; `make test` installs what the tests need", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("the application's errors:\n%s", stderr.String())
		}
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the application does not listen: %v, %q", err, line)
	}
	a.url = address
}

// expressFolder is a copy of the application with its packages.
func expressFolder(t *testing.T) string {
	t.Helper()
	folder, err := installExpress()
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// installExpress installs the packages once.
var installExpress = sync.OnceValues(func() (string, error) { return npmInstall(expressSource) })

// npmInstall copies a Node application and installs its packages, beside the gateway's binary, with which they are removed.
func npmInstall(source string) (string, error) {
	folder := filepath.Join(filepath.Dir(binary), filepath.Base(source))
	if err := os.CopyFS(folder, os.DirFS(source)); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	// bcrypt brings its binaries along; no package needs to run a script.
	cmd := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("npm ci for %s: %w (npm comes with `make test`; the packages come from npm's registry)\n%s", source, err, out)
	}
	return folder, nil
}

// who is what the application says of its caller.
type who struct {
	ID    int    `json:"id"`
	Email string `json:"email"`
	Items int    `json:"items"`
	Hello string `json:"hello"`
}

// who reads the application's answer; the zero who when it is none.
func (a answer) who() who {
	var w who
	if a.StatusCode != http.StatusOK || json.Unmarshal([]byte(a.body), &w) != nil {
		return who{}
	}
	return w
}

// TestExpressAlone: the application works without a gateway, and knows its users by its own sessions.
func TestExpressAlone(t *testing.T) {
	t.Parallel()
	app := startExpress(t, 2)
	b, other := newBrowser(t, app.url), newBrowser(t, app.url)
	if got := b.get("/me"); got.StatusCode != 303 || got.location() != "/login" {
		t.Errorf("a stranger: %s to %s", got.Status, got.location())
	}
	if got := b.post("/login", form("email", app.people[0].email, "password", "wrong")); got.StatusCode != 401 {
		t.Errorf("a wrong password: %s", got.Status)
	}
	for i, b := range []*browser{b, other} {
		p := app.people[i]
		if got := b.post("/login", form("email", p.email, "password", p.password)); got.StatusCode != 303 || got.location() != "/me" {
			t.Fatalf("login of %s: %s to %s", p.email, got.Status, got.location())
		}
		for items := 1; items <= 3; items++ {
			if got := b.post("/cart", nil).who(); got.ID != p.id || got.Items != items {
				t.Errorf("the cart of %s: %+v, want %d items", p.email, got, items)
			}
		}
		if got := b.get("/me").who(); got.ID != p.id || got.Email != p.email {
			t.Errorf("the application takes %s for %+v", p.email, got)
		}
	}
	if got := newBrowser(t, app.url).get("/me", "X-User-Id", "2").who(); got.ID != 2 {
		t.Errorf("the one line does not read X-User-Id: %+v", got)
	}
	if got := b.post("/logout", nil); got.StatusCode != 303 || b.get("/me").StatusCode != 303 || b.get("/public").who().Hello != "stranger" {
		t.Errorf("logout: %s, and then %s", got.Status, b.get("/me").Status)
	}
	if got := other.get("/me").who(); got.ID != 2 {
		t.Errorf("somebody else's logout: %+v", got)
	}
}
