package e2e

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testpostgres"
)

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
