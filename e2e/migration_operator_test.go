package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gatehouse/internal/testpostgres"
)

// config is what the application's owner writes. forward: the application keeps carts in its sessions, so it goes on
// getting its cookie.
func (s *story) config(state string, percent int, forward bool) string {
	return fmt.Sprintf(`listen: 127.0.0.1:0
upstream: %s
rules:
  - path: /public
    access: public
login:
  backend: database
  limits: {per_address: 6000/m, per_account: 6000/m, burst: 1000}
session:
  cookie: {secure: false}
  database:
    preset: connect-pg-simple
    cookie: {secret_file: %s, forward: %t}
database: {url_file: database-url, timeout: 10s}
redis: {addresses: [%q], timeout: 3s}
migration: {state: %s, percent: %d}
admin: {listen: 127.0.0.1:0}
timeouts: {upstream_idle: 4s} # Node closes its unused connections after 5 s
log: {level: info, format: json}
`, s.app.url, s.app.secretFile, forward, s.redis.Addr, state, percent)
}

// prepare does in the database what the gateway asks for, and gives it a role that may do no more than it must.
func (s *story) prepare() {
	s.t.Helper()
	dir := s.t.TempDir()
	writeFile(s.t, filepath.Join(dir, "gatehouse.yaml"), s.config("legacy", 0, true))
	writeFile(s.t, filepath.Join(dir, "database-url"), s.app.database+"\n")
	out, code := runCommand(s.t, "", "migrate", "prepare", "--config", filepath.Join(dir, "gatehouse.yaml"))
	if code != 0 {
		s.t.Fatalf("gatehouse migrate prepare: exit code %d\n%s", code, out)
	}
	testpostgres.Exec(s.t, s.app.database, out)
	s.app.admitGateway(s.t)
}

// start starts a gateway; it takes no part before open.
func (s *story) start(state string, forward bool) *gateway {
	return start(s.t, s.config(state, 0, forward), options{files: map[string]string{"database-url": s.app.gatewayURL + "\n"}})
}

// file changes the state in the config file of one gateway after the other, so that for a while they are in different ones.
func (s *story) file(state string, percent int) func() {
	return func() {
		for _, g := range *s.gateways.Load() {
			path := filepath.Join(g.dir, "gatehouse.yaml")
			writeFile(s.t, path+".new", s.config(state, percent, true))
			if err := os.Rename(path+".new", path); err != nil { // as editors do
				s.t.Fatal(err)
			}
			time.Sleep(pace / 2)
		}
	}
}

// set changes the state for all gateways by the command.
func (s *story) set(args ...string) func() {
	return func() { s.migrate(append([]string{"set"}, args...)...) }
}

// migrate runs `gatehouse migrate` as an operator does, beside the first gateway.
func (s *story) migrate(args ...string) string {
	s.t.Helper()
	g := (*s.gateways.Load())[0]
	out, code := runCommand(s.t, "", append(append([]string{"migrate"}, args...), "--config", filepath.Join(g.dir, "gatehouse.yaml"))...)
	if code != 0 {
		s.t.Fatalf("gatehouse migrate %s: exit code %d\n%s", strings.Join(args, " "), code, out)
	}
	return out
}

// backfill brings over who is asleep, and looks at the figures as an operator does before the last step.
func (s *story) backfill() {
	s.t.Helper()
	s.t.Logf("backfill: %s", s.migrate("backfill"))
	s.t.Logf("verify:\n%s", s.migrate("verify"))
	s.t.Logf("status:\n%s", s.migrate("status"))
}

// replace puts new gateways in the place of the old ones, one by one as a rollout does, which give the application
// its cookie no more: what it keeps in its sessions ends with the table.
func (s *story) replace() {
	s.carts.Store(false)
	for range *s.gateways.Load() {
		old := *s.gateways.Load()
		next := append(append([]*gateway{}, old[1:]...), s.start("done", false))
		s.gateways.Store(&next)
		s.rounds(1)
		s.coming.Lock() // now nobody is at the old one any more
		old[0].stop()
		s.coming.Unlock()
	}
}
