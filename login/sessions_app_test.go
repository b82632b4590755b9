package login_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/internal/testpostgres"
	"gatehouse/telemetry"
)

// TestSessionsOfTheApplication: while sessions move, those the application made are the person's own too, whichever
// store they are in.
func TestSessionsOfTheApplication(t *testing.T) {
	t.Parallel()
	const third = "89abcdef0123456789abcdef01234567"
	for _, state := range []string{config.StateLegacy, config.StateShadow, config.StatePrimary, config.StateDrain} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			g := newAppGate(t, state, false)
			mine, also, theirs := g.row(1, strong), g.row(1, other), g.row(2, third)
			elsewhere, token := g.login(t, ada), g.login(t, ada)
			a := g.ask(visit{method: "GET", token: token})
			got := listed(t, a)
			unknown := slices.IndexFunc(got, func(s shown) bool { return strings.HasPrefix(s.facts, "Addressnot known") })
			if a.Code != 200 || len(got) != 4 || !got[0].current || got[0].id != idOf(token) || unknown < 1 || got[unknown].device != "Unknown device" {
				t.Fatalf("%d, %+v", a.Code, got)
			}
			if page := a.Body.String(); strings.Contains(page, strong) || strings.Contains(page, other) {
				t.Error("the page holds a token of the application's")
			}
			for _, s := range got[1:] {
				g.logged()
				if a := g.ask(visit{body: "action=end&id=" + s.id, token: token}); a.Code != 303 {
					t.Errorf("ending one: %d", a.Code)
				}
				if log := g.logged(); strings.Contains(log, strong) || strings.Contains(log, other) || !strings.Contains(log, `"reason":"by_user"`) {
					t.Errorf("log %s", log)
				}
			}
			if g.knows(mine) || g.knows(also) || g.lives(elsewhere) || !g.knows(theirs) || !g.lives(token) {
				t.Errorf("live on: %v, %v, %v, another's: %v, this one: %v", g.knows(mine), g.knows(also), g.lives(elsewhere), g.knows(theirs), g.lives(token))
			}
			// This replica refuses what it has ended in any case: the others go by what is stored.
			want := map[string]int{config.StateLegacy: 1, config.StateShadow: 1}[state]
			if rows := len(testpostgres.Rows(t, g.url, "SELECT id FROM sessions WHERE user_id = 1")); rows != want {
				t.Errorf("%d rows are left, want %d", rows, want)
			}
		})
	}
}

// TestSessionsByTheApplicationsCookie: who has nothing but the application's cookie sees and ends the same.
func TestSessionsByTheApplicationsCookie(t *testing.T) {
	t.Parallel()
	for _, state := range []string{config.StateLegacy, config.StatePrimary} {
		for _, forward := range []bool{false, true} {
			t.Run(state+map[bool]string{true: "_forward"}[forward], func(t *testing.T) {
				t.Parallel()
				g := newAppGate(t, state, forward)
				mine, also, token := g.row(1, strong), g.row(1, other), g.login(t, ada)
				by := func(method, body string) answer {
					return g.ask(visit{method: method, body: body, header: []string{"Cookie", mine}})
				}
				a := by("GET", "")
				if got := listed(t, a); a.Code != 200 || len(got) != 3 || !got[0].current || a.facts.UserID != "1" {
					t.Fatalf("%d, %+v", a.Code, got)
				}
				// A session that has come over has a token of the gateway's, which the browser gets.
				if c := g.cookie(a); (c != nil) != (state == config.StatePrimary) || c != nil && !g.lives(c.Value) {
					t.Errorf("cookie %v", c)
				}
				if a := by("POST", "action=end_others"); a.Code != 303 || !g.knows(mine) || g.knows(also) || g.lives(token) {
					t.Errorf("end_others: %d, this one lives: %v, the others: %v, %v", a.Code, g.knows(mine), g.knows(also), g.lives(token))
				}
				if got := listed(t, by("GET", "")); len(got) != 1 || !got[0].current {
					t.Errorf("left: %+v", got)
				}
				if rows := g.count(strong); rows != 1 {
					t.Error("the row this session came from is gone, so the application has logged out who should stay")
				}
				a = by("POST", "action=end_all")
				want := bothCookies
				if forward {
					want = bothCookies[:1]
				}
				if a.Code != 303 || g.knows(mine) || g.count(strong) != 0 && !forward || !slices.Equal(cleared(a), want) {
					t.Errorf("end_all: %d, lives: %v, forgotten: %v", a.Code, g.knows(mine), cleared(a))
				}
			})
		}
	}
}

// count counts the rows of an id.
func (a *appGate) count(id string) int {
	a.t.Helper()
	return len(testpostgres.Rows(a.t, a.url, "SELECT id FROM sessions WHERE id = $1", id))
}

// TestSessionsEndAtTheApplication: ending this one logs out of the application by its own logout, with the vault's
// cookies and without what was sent to the page.
func TestSessionsEndAtTheApplication(t *testing.T) {
	t.Parallel()
	for _, action := range []string{"end", "end_all"} {
		for _, asJSON := range []bool{false, true} {
			t.Run(action+map[bool]string{true: "_json"}[asJSON], func(t *testing.T) {
				t.Parallel()
				app := &script{}
				app.login = func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path != "/logout" {
						signIn(w, r)
						return
					}
					w.Header().Add("Set-Cookie", "sid=; Path=/; Max-Age=0")
					w.Header().Add("Set-Cookie", "flash=bye; Path=/")
					http.Redirect(w, r, "/bye", http.StatusFound)
				}
				s := openSite(t, appConfig(), app)
				p := s.person()
				p.post("/login", uma).want(t, 302, "/dashboard")
				token := p.cookies()["gatehouse"]
				body, kind := url.Values{"action": {action}, "id": {idOf(token)}}.Encode(), "application/x-www-form-urlencoded"
				if asJSON {
					body, kind = `{"action":"`+action+`","id":"`+idOf(token)+`"}`, "application/json"
				}
				r := httptest.NewRequest("POST", "/.gatehouse/sessions", strings.NewReader(body))
				r.Header.Set("Cookie", "gatehouse="+token)
				r.Header.Set("Content-Type", kind)
				w := httptest.NewRecorder()
				s.handler.Sessions(w, r.WithContext(telemetry.WithRequest(r.Context(), &telemetry.Request{Client: netip.MustParseAddr("192.0.2.7")})))
				lines := strings.Join(w.Header()["Set-Cookie"], "\n")
				if w.Code != 303 || w.Header().Get("Location") != "/bye" || s.sessions.count() != 0 || !strings.Contains(lines, "flash=bye") || strings.Contains(lines, "sid=") {
					t.Errorf("%d to %q, %d sessions, cookies\n%s", w.Code, w.Header().Get("Location"), s.sessions.count(), lines)
				}
				last := app.calls[len(app.calls)-1]
				if s.app.count("POST /logout") != 1 || app.body[len(app.body)-1] != "" || value(last, "sid") != "fresh" || value(last, "gatehouse") != "" || last.Header.Get("Content-Type") != "" && asJSON {
					t.Errorf("the application got %q with %v", app.body[len(app.body)-1], last.Header)
				}
			})
		}
	}
}
