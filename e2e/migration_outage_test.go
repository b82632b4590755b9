package e2e

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/crypto/bcrypt"

	"gatehouse/internal/testpostgres"
	"gatehouse/internal/testredis"
)

// What is away.
const (
	redisIsAway = 1 << iota
	databaseIsAway
)

// fault is one way in which stores can be away while sessions move.
type fault struct {
	name string
	away int
	// says is what the log tells of why the database is away.
	says string
	hurt func(m *moving)
	heal func(m *moving)
}

var faults = []fault{
	{"Redis refused", redisIsAway, "", func(m *moving) { m.redis.server.Kill() }, func(m *moving) { m.redis.server.Restart() }},
	{"Redis hung", redisIsAway, "", func(m *moving) { m.redis.server.Stop() }, func(m *moving) { m.redis.server.Cont() }},
	{"database refused", databaseIsAway, "refuses connections", func(m *moving) { m.postgres.Kill() }, func(m *moving) { m.postgres.Restart() }},
	{"database hung", databaseIsAway, "no answer", func(m *moving) { m.postgres.Stop() }, func(m *moving) { m.postgres.Cont() }},
	{"database full", databaseIsAway, "too many connections", (*moving).takeAllConnections, func(m *moving) { m.leave() }},
	{"database password", databaseIsAway, "wrong password", (*moving).changePassword, (*moving).tellPassword},
	{"both refused", redisIsAway | databaseIsAway, "",
		func(m *moving) { m.redis.server.Kill(); m.postgres.Kill() }, func(m *moving) { m.redis.server.Restart(); m.postgres.Restart() }},
	{"both hung", redisIsAway | databaseIsAway, "no answer",
		func(m *moving) { m.redis.server.Stop(); m.postgres.Stop() }, func(m *moving) { m.redis.server.Cont(); m.postgres.Cont() }},
}

// regime is a state of the migration, and what outage.login is in it.
type regime struct {
	state, login string
	faults       []fault
}

// moving is an application's database, a Redis, and two gateways before the application: what happens is looked at
// at here; at there people have been before.
type moving struct {
	regime
	t           *testing.T
	redis       space
	postgres    *testpostgres.Server
	owner       string // the URL of the database's owner
	app         string
	here, there *gateway
	client      *http.Client

	password string
	users    int         // given out so far
	held     []*pgx.Conn // by takeAllConnections
	scenes   []*scene    // of the faults to come
}

// guest is somebody with the cookies they have got.
type guest struct {
	name  string
	user  int
	token string // the gateway's cookie
	sid   string // the application's
}

func (v *guest) cookie() string {
	var all []string
	if v.token != "" {
		all = append(all, "gatehouse="+v.token)
	}
	if v.sid != "" {
		all = append(all, "sid="+v.sid)
	}
	return strings.Join(all, "; ")
}

// scene is who is there when a fault happens.
type scene struct {
	// known was used at here, unknown at there alone; both are in Redis.
	known, unknown *guest
	// row and born are in the table alone: one was made by the application, one by a login at a gateway. seen is
	// like row, and was used at here.
	row, born, seen *guest
	// moved has come over at there, and sends the application's cookie still; ended has come over and is over.
	moved, ended *guest
	// leaving log out during the fault: from Redis, from the application's row, from the gateway's.
	leaving [3]*guest
	// out have logged out before, at there.
	out [3]*guest
	// entered has logged in during the fault.
	entered *guest
}

const gatewayRole = "gatehouse"

// everybodysPassword is that of all users of the application.
const everybodysPassword = "the same for everybody"

// TestMigrationOutages: in each state of the migration, each store away in each way, and both.
func TestMigrationOutages(t *testing.T) {
	t.Parallel()
	for _, r := range []regime{
		{"primary", "database", faults},
		{"primary", "refuse", faults[:2]},
		{"shadow", "refuse", faults},
		{"legacy", "refuse", []fault{faults[0], faults[2]}},
	} {
		t.Run(r.state+", outage.login "+r.login, func(t *testing.T) {
			t.Parallel()
			m := newMoving(t, r)
			t.Logf("| %s, login: %s | Redis known | Redis unknown | table | table, born at a gateway | table, known | moved | login | logout Redis, row, born | public | cookies cleared | longest | normal after |", r.state, r.login)
			for i, f := range r.faults {
				m.endure(t, f, m.scenes[i])
			}
		})
	}
}

func newMoving(t *testing.T, r regime) *moving {
	const ownerPassword = "owner-of-the-database"
	said.secret(ownerPassword)
	said.secret(everybodysPassword)
	m := &moving{
		regime: r, t: t, redis: ownSpace(t, testredis.Persistent()), app: whoApp(t), client: plainClient(t), password: "the-first-of-the-role",
		postgres: testpostgres.Start(t, testpostgres.Password(ownerPassword), testpostgres.Flags("-c", "max_connections=40")),
	}
	m.owner = m.postgres.URL()
	m.createTables()
	first := "legacy"
	if r.state == "shadow" {
		first = "shadow" // where sessions born in the table have copies
	}
	m.here, m.there = m.start(r.state), m.start(first)
	m.prepareScenes()
	return m
}

func (m *moving) createTables() {
	m.t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(everybodysPassword), bcrypt.MinCost)
	if err != nil {
		m.t.Fatal(err)
	}
	m.exec(`CREATE TABLE users (id serial PRIMARY KEY, email text NOT NULL UNIQUE, name text, email_verified boolean NOT NULL DEFAULT true,
		  role text NOT NULL DEFAULT 'user', password_hash text);
		CREATE TABLE sessions (id text PRIMARY KEY, user_id integer NOT NULL REFERENCES users(id), expires_at timestamptz NOT NULL);
		INSERT INTO users (email, name, password_hash) SELECT 'user' || n || '@example.com', 'User ' || n, '` + string(hash) + `' FROM generate_series(1, 400) n`)
	dir := m.t.TempDir()
	writeFile(m.t, filepath.Join(dir, "gatehouse.yaml"), m.config(m.state))
	writeFile(m.t, filepath.Join(dir, "database-url"), m.owner+"\n")
	out, code := runCommand(m.t, "", "migrate", "prepare", "--config", filepath.Join(dir, "gatehouse.yaml"))
	if code != 0 {
		m.t.Fatalf("gatehouse migrate prepare: exit code %d\n%s", code, out)
	}
	said.secret(m.password)
	m.exec(out)
	m.exec(`CREATE ROLE ` + gatewayRole + ` LOGIN PASSWORD '` + m.password + `'; CREATE ROLE greedy LOGIN PASSWORD '` + everybodysPassword + `';
		GRANT SELECT ON users TO ` + gatewayRole + `; GRANT SELECT, INSERT, UPDATE, DELETE ON sessions, gatehouse_epochs TO ` + gatewayRole)
}

func (m *moving) exec(statements string) {
	m.t.Helper()
	testpostgres.Exec(m.t, m.owner, statements)
}

func (m *moving) config(state string) string {
	return fmt.Sprintf(`listen: 127.0.0.1:0
upstream: %s
default: public
rules:
  - path: /account
login:
  backend: database
  limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}
session:
  cookie: {secure: false}
  database: {preset: table}
database: {url_file: database-url, timeout: %s}
redis: {addresses: [%q], timeout: %s}
outage: {login: %s}
migration: {state: %s}
admin: {listen: 127.0.0.1:0}
log: {level: info, format: json}
`, m.app, databaseTimeout(), m.redis.server.Addr, redisTimeout(), m.login, state)
}

// redisTimeout is the default, of which the figures tell. With the race detector, between loaded cores, a healthy
// Redis may take longer while 200 requests come at once.
func redisTimeout() time.Duration {
	if raceEnabled {
		return 1500 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// databaseTimeout, see redisTimeout.
func databaseTimeout() time.Duration {
	if raceEnabled {
		return 3 * time.Second
	}
	return time.Second
}

// as is the database's URL for a role.
func (m *moving) as(role, password string) string {
	u, err := url.Parse(m.owner)
	if err != nil {
		m.t.Fatal(err)
	}
	u.User = url.UserPassword(role, password)
	return u.String()
}

func (m *moving) start(state string) *gateway {
	m.t.Helper()
	return startReady(m.t, m.config(state), options{files: map[string]string{"database-url": m.as(gatewayRole, m.password) + "\n"}})
}

// goOver has there follow its file into a state.
func (m *moving) goOver(state string) {
	m.t.Helper()
	path := filepath.Join(m.there.dir, "gatehouse.yaml")
	writeFile(m.t, path+".new", m.config(state))
	if err := os.Rename(path+".new", path); err != nil {
		m.t.Fatal(err)
	}
	eventually(m.t, "there to be in "+state, func() bool { return m.there.metric(m.t, `gatehouse_migration_state{state="`+state+`"}`) == "1" })
}

// prepareScenes has everybody log in, in the states in which their sessions become what they are.
func (m *moving) prepareScenes() {
	m.t.Helper()
	for range m.faults {
		s := &scene{born: m.enter("born", m.there), row: m.row("row"), seen: m.row("seen"), moved: m.row("moved"), ended: m.row("ended")}
		s.leaving[1], s.leaving[2] = m.row("row that leaves"), m.enter("born that leaves", m.there)
		s.out[1], s.out[2] = m.row("row that left"), m.enter("born that left", m.there)
		m.scenes = append(m.scenes, s)
	}
	m.goOver("primary")
	for _, s := range m.scenes {
		s.known, s.unknown = m.enter("known", m.there), m.enter("unknown", m.there)
		s.leaving[0], s.out[0] = m.enter("who leaves", m.there), m.enter("who left", m.there)
		for _, v := range []*guest{s.moved, s.ended} {
			got := m.visit(m.there, v)
			m.must(got, v, 200)
			if v == s.ended {
				m.logout(m.there, &guest{token: got.tokenOf()}, 303)
			}
		}
	}
	m.goOver(m.state)
}

// row makes a session as the application does.
func (m *moving) row(name string) *guest {
	m.t.Helper()
	m.users++
	var b [16]byte
	rand.Read(b[:])
	v := &guest{name: name, user: m.users, sid: hex.EncodeToString(b[:])}
	m.exec(fmt.Sprintf("INSERT INTO sessions (id, user_id, expires_at) VALUES ('%s', %d, now() + interval '1 day')", v.sid, v.user))
	return v
}

// enter logs somebody in.
func (m *moving) enter(name string, g *gateway) *guest {
	m.t.Helper()
	v, got := m.tryToEnter(name, g)
	if v == nil {
		m.t.Fatalf("login of %s: %s %s", name, got.Status, got.body)
	}
	return v
}

// tryToEnter gives no guest when there is no session.
func (m *moving) tryToEnter(name string, g *gateway) (*guest, answer) {
	m.t.Helper()
	m.users++
	got, err := send(m.client, "POST", g.url+"/login", "", form("email", fmt.Sprintf("user%d@example.com", m.users), "password", everybodysPassword).Encode())
	if err != nil {
		m.t.Fatal(err)
	}
	if got.StatusCode != 303 || got.tokenOf() == "" {
		return nil, got
	}
	return &guest{name: name, user: m.users, token: got.tokenOf()}, got
}

func (m *moving) visit(g *gateway, v *guest) answer {
	m.t.Helper()
	got, err := send(m.client, "GET", g.url+"/account", "", "", "Cookie", v.cookie())
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

// must looks at an answer: its status, and that nobody is taken for somebody else.
func (m *moving) must(got answer, v *guest, status int) {
	m.t.Helper()
	if got.StatusCode != status || status == 200 && !v.isIn(got) {
		m.t.Errorf("%s, user %d: %s %.60s; want %d", v.name, v.user, got.Status, got.body, status)
	}
}

func (v *guest) isIn(got answer) bool {
	return got.StatusCode == 200 && strings.HasPrefix(got.body, "user="+strconv.Itoa(v.user)+" ")
}

func (m *moving) logout(g *gateway, v *guest, want int) string {
	m.t.Helper()
	got, err := send(m.client, "POST", g.url+"/logout", "", "", "Cookie", v.cookie())
	if err != nil {
		m.t.Fatal(err)
	}
	if got.StatusCode != want || want == 503 && !strings.Contains(got.body, "not confirmed") {
		m.t.Errorf("logout of %s: %s; want %d", v.name, got.Status, want)
	}
	return strconv.Itoa(got.StatusCode)
}

// takeAllConnections leaves no connection for the gateways. Those they have are ended, and taken before they
// are made again.
func (m *moving) takeAllConnections() {
	m.t.Helper()
	greedy := m.as("greedy", everybodysPassword)
	for {
		m.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + gatewayRole + "'")
		for {
			c, err := pgx.Connect(context.Background(), greedy)
			if err != nil {
				break
			}
			m.held = append(m.held, c)
		}
		if testpostgres.Rows(m.t, m.owner, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+gatewayRole+"'")[0][0] == "0" {
			return
		}
	}
}

func (m *moving) leave() {
	for _, c := range m.held {
		_ = c.Close(context.Background())
	}
	m.held = nil
}

// changePassword of the gateways' role, and nobody tells them.
func (m *moving) changePassword() {
	m.t.Helper()
	m.password = "the-second-of-the-role"
	said.secret(m.password)
	m.exec("ALTER USER " + gatewayRole + " PASSWORD '" + m.password + "'")
	m.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '" + gatewayRole + "'")
}

// tellPassword writes it into the file it is read from.
func (m *moving) tellPassword() {
	m.t.Helper()
	for _, g := range []*gateway{m.here, m.there} {
		writeFile(m.t, filepath.Join(g.dir, "database-url"), m.as(gatewayRole, m.password)+"\n")
	}
}

// expected is what everybody must be answered while something is away (docs/migration.md, "When something is away").
func (m *moving) expected(away int, s *scene) map[*guest]int {
	want := map[*guest]int{
		s.known: 200, s.unknown: 200, s.row: 200, s.born: 200, s.moved: 200, s.ended: 503,
		s.out[0]: 303, s.out[1]: 503, s.out[2]: 503,
	}
	if m.state != "primary" { // where nobody is known who is in the table still
		want[s.seen] = 200
	}
	if away&redisIsAway != 0 {
		want[s.unknown], want[s.moved], want[s.out[0]] = 503, 503, 503
	}
	if away&databaseIsAway != 0 {
		want[s.row], want[s.born] = 503, 503 // a copy in Redis counts only with its row
	}
	return want
}

// logins is what a login must be answered, logouts the three of scene.leaving.
func (m *moving) logins(away int) int {
	if away&databaseIsAway != 0 || m.state == "primary" && m.login == "refuse" {
		return 503
	}
	return 303
}

func (m *moving) logouts(away int) [3]int {
	want := [3]int{503, 503, 503}
	if away&redisIsAway == 0 {
		want[0] = 303
	} else if m.state == "legacy" {
		want[1], want[2] = 303, 303 // the row was the session
	}
	return want
}
