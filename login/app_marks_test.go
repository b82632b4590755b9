package login_test

import (
	"net/http"
	"testing"

	"gatehouse/config"
)

// The header that says who it is may be the mark of a success too: it is looked at before it is taken out.
func TestI03_TheIdentityHeaderAsMark(t *testing.T) {
	t.Parallel()
	cfg := appConfig()
	cfg.App.Success = config.AppSuccess{Header: "X-Who"}
	cfg.App.Identity = config.AppIdentity{From: "header", Fields: config.IdentityFields{UserID: "X-Who"}}
	for who, ok := range map[string]bool{"17": true, "": false} {
		s := openSite(t, cfg, &script{login: func(w http.ResponseWriter, _ *http.Request) {
			if who != "" {
				w.Header().Set("X-Who", who)
			}
		}})
		p := s.person()
		got := p.post("/login", uma)
		if got.StatusCode != 200 || got.Header["X-Who"] != nil || (p.cookies()["gatehouse"] != "") != ok || (s.sessions.count() == 1) != ok {
			t.Errorf("X-Who %q: %s %v, %d sessions, want one: %v", who, got.Status, got.Header, s.sessions.count(), ok)
		}
	}
}
