package e2e

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// during is what was measured in a fault.
type during struct {
	tally
	cleared  int
	statuses map[string]string
}

// endure has a fault happen, looks at everything that must hold in it, and waits until all is as before.
func (m *moving) endure(t *testing.T, f fault, s *scene) {
	m.t = t
	m.must(m.visit(m.here, s.known), s.known, 200)
	if m.state != "primary" { // where it would come over
		m.must(m.visit(m.here, s.seen), s.seen, 200)
	}
	for _, v := range s.out {
		m.logout(m.there, v, 303)
	}
	before, said := m.goroutines(), len(m.here.output())
	f.hurt(m)
	began := time.Now()
	d := &during{tally: tally{answers: map[string]int{}}, statuses: map[string]string{}}
	if f.away == databaseIsAway {
		m.storm(d, f, before)
	}
	m.bombard(d, f, s)
	eventually(t, "the log to say why", func() bool {
		m.visit(m.here, s.row)
		return strings.Contains(m.here.output()[said:], f.says)
	})
	login, logouts := m.comeAndGo(d, f, s)
	away := time.Since(began)
	normal := m.recover(d, f, s)
	if len(d.faults) > 0 || d.cleared > 0 {
		t.Errorf("%s: %d faults, such as %s; %d cookies were touched", f.name, len(d.faults), strings.Join(d.faults[:min(len(d.faults), 3)], "; "), d.cleared)
	}
	is := func(v *guest) string { return cmp.Or(d.statuses[v.name], "–") }
	t.Logf("| %s, %.1f s | %s | %s | %s | %s | %s | %s | %s | %s | 200 | %d | %d ms | %d ms |", f.name, away.Seconds(), is(s.known), is(s.unknown),
		is(s.row), is(s.born), is(s.seen), is(s.moved), login, logouts, d.cleared, slices.Max(d.took).Milliseconds(), normal.Milliseconds())
}

func (m *moving) goroutines() int {
	m.t.Helper()
	n, err := strconv.Atoi(m.here.metric(m.t, "go_goroutines"))
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// storm is 200 requests at once that the database would have to be asked for: none waits for long, and
// nothing is left of them.
func (m *moving) storm(d *during, f fault, before int) {
	m.t.Helper()
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
	parallel(200, 200, func(i int) {
		got, err := d.ask(c, "storm", "GET", m.here.url+"/account", tagOf(strconv.Itoa(i))+"~"+strings.Repeat("A", 43), "")
		if err == nil && got.StatusCode != 503 {
			d.fault("storm: " + got.Status)
		}
	})
	left := 0
	eventually(m.t, "the goroutines of 200 requests to end", func() bool {
		left = m.goroutines()
		return left <= before+20
	})
	m.t.Logf("%s: %d goroutines before 200 requests at once, %d after", f.name, before, left)
}

func (d *during) fault(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = append(d.faults, text)
}

// look asks on behalf of a guest, and notes what must not be.
func (d *during) look(m *moving, v *guest, path string, want int) {
	began := time.Now()
	got, err := send(m.client, "GET", m.here.url+path, "", "", "Cookie", v.cookie())
	d.mu.Lock()
	defer d.mu.Unlock()
	d.took = append(d.took, time.Since(began))
	if err != nil {
		d.faults = append(d.faults, err.Error())
		return
	}
	for _, c := range got.Cookies() {
		if c.Value == "" || c.MaxAge < 0 {
			d.cleared++
		}
	}
	if path == "/account" {
		d.statuses[v.name] = strconv.Itoa(got.StatusCode)
	}
	if strings.HasSuffix(v.name, " left") && got.StatusCode == 303 {
		want = 303 // the replica that has just logged them out knows without asking anybody
	}
	switch {
	case got.StatusCode != want, want == 200 && path == "/account" && !v.isIn(got):
		d.faults = append(d.faults, fmt.Sprintf("%s, user %d: %s %.40s; want %d", v.name, v.user, got.Status, got.body, want))
	case want == 503 && got.Header.Get("Retry-After") == "":
		d.faults = append(d.faults, v.name+": 503 without Retry-After")
	}
}

// strangers have no session anywhere.
func strangers(away int) map[*guest]int {
	want := map[*guest]int{
		{name: "forged", token: tagOf("1") + "." + strings.Repeat("A", 43)}:                    303,
		{name: "forged, born in the table", token: tagOf("1") + "~" + strings.Repeat("A", 43)}: 503,
		{name: "forged, the application's", sid: strings.Repeat("a", 32)}:                      503,
	}
	for v := range want {
		if away&redisIsAway != 0 {
			want[v] = 503
		}
	}
	want[&guest{name: "nobody"}] = 303
	return want
}

// bombard sends requests of every kind for a while.
func (m *moving) bombard(d *during, f fault, s *scene) {
	m.t.Helper()
	all := m.expected(f.away, s)
	for v, status := range strangers(f.away) {
		all[v] = status
	}
	stop := time.Now().Add(700 * time.Millisecond)
	parallel(4, 4, func(int) {
		for first := true; first || time.Now().Before(stop); first = false {
			for v, status := range all {
				d.look(m, v, "/account", status)
				d.look(m, v, "/elsewhere", 200)
			}
		}
	})
}

// comeAndGo has people log in and out during the fault.
func (m *moving) comeAndGo(d *during, f fault, s *scene) (login, logouts string) {
	m.t.Helper()
	began := time.Now()
	entered, got := m.tryToEnter("who entered", m.here)
	d.took = append(d.took, time.Since(began))
	login = strconv.Itoa(got.StatusCode)
	if got.StatusCode != m.logins(f.away) {
		m.t.Errorf("%s: login: %s, want %d", f.name, got.Status, m.logins(f.away))
	}
	if s.entered = entered; entered != nil {
		login += ", into the table"
		if n := m.rowsOf(entered, "migrated_at IS NULL"); n != 1 {
			m.t.Errorf("%s: %d rows of who has logged in", f.name, n)
		}
		m.must(m.visit(m.here, entered), entered, 200)
	}
	var all []string
	for i, want := range m.logouts(f.away) {
		began := time.Now()
		all = append(all, m.logout(m.here, s.leaving[i], want))
		d.took = append(d.took, time.Since(began))
		if got := m.visit(m.here, s.leaving[i]); got.StatusCode == 200 {
			m.t.Errorf("%s: %s has logged out here and is served", f.name, s.leaving[i].name)
		}
	}
	return login, strings.Join(all, ", ")
}

func (m *moving) rowsOf(v *guest, where string) int {
	m.t.Helper()
	n, err := strconv.Atoi(testpostgres.Rows(m.t, m.owner, fmt.Sprintf("SELECT count(*) FROM sessions WHERE user_id = %d AND %s", v.user, where))[0][0])
	if err != nil {
		m.t.Fatal(err)
	}
	return n
}

// recover ends the fault. Meanwhile whoever has logged out tries to get in, at the gateway where they did.
func (m *moving) recover(d *during, f fault, s *scene) (took time.Duration) {
	m.t.Helper()
	stop := make(chan struct{})
	var ghosts sync.WaitGroup
	for _, v := range slices.Concat(s.leaving[:], s.out[:], []*guest{s.ended}) {
		ghosts.Go(func() {
			for {
				got, err := send(m.client, "GET", m.here.url+"/account", "", "", "Cookie", v.cookie())
				if err == nil && got.StatusCode == 200 {
					d.fault(v.name + " has logged out and is served when it is over")
				}
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
			}
		})
	}
	f.heal(m)
	healed := time.Now()
	m.normal(s)
	took = time.Since(healed)
	close(stop)
	ghosts.Wait()
	m.afterwards(f, s)
	return took
}

// normal waits until everybody is served again.
func (m *moving) normal(s *scene) {
	m.t.Helper()
	waiting := []*guest{s.known, s.unknown, s.row, s.born, s.moved}
	eventually(m.t, "all to be served again", func() bool {
		waiting = slices.DeleteFunc(waiting, func(v *guest) bool { return v.isIn(m.visit(m.here, v)) })
		return len(waiting) == 0
	})
	eventually(m.t, "logins to work", func() bool {
		v, _ := m.tryToEnter("who comes afterwards", m.here)
		return v != nil && strings.Contains(v.token, "~") == (m.state != "primary")
	})
	eventually(m.t, "the logouts to be confirmed", func() bool { return m.here.metric(m.t, "gatehouse_revocations_pending") == "0" })
	eventually(m.t, "readyz to say ready", func() bool {
		got, err := send(m.client, "GET", m.here.url+"/.gatehouse/readyz", "", "")
		return err == nil && got.StatusCode == 200
	})
}

// afterwards: who logged in during the fault has come over, and who logged out is out everywhere.
func (m *moving) afterwards(f fault, s *scene) {
	m.t.Helper()
	for _, v := range slices.Concat(s.leaving[:], s.out[:], []*guest{s.ended}) {
		for _, g := range []*gateway{m.here, m.there} {
			eventually(m.t, v.name+" to be out", func() bool { return m.visit(g, v).StatusCode == 303 })
		}
	}
	if s.entered == nil {
		return
	}
	m.must(m.visit(m.here, s.entered), s.entered, 200)
	m.must(m.visit(m.there, s.entered), s.entered, 200)
	moved, inRedis := m.rowsOf(s.entered, "migrated_at IS NOT NULL"), m.redis.text(m.t, "GET", m.redis.prefix+"session:{"+tagOf(strconv.Itoa(s.entered.user))+"}:"+sessionID(s.entered.token))
	if came := moved == 1 && strings.Contains(inRedis, `"moved"`); came != (m.state == "primary") {
		m.t.Errorf("%s: who logged in into the database: %d marked rows, in Redis %.40q", f.name, moved, inRedis)
	}
}
