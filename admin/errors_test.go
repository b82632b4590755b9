package admin_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"

	"gatehouse/session"
)

// anID is a session's ID, as far as its form goes.
const anID = "0123456789012345678901234567890123456789012"

// example is a good request for an operation of the description.
type example struct{ id, method, path, body string }

// examples has one for every operation there is.
func examples() (all []example) {
	for path, item := range described().Paths.Map() {
		path = "/api/v1" + strings.NewReplacer("{userID}", "42", "{id}", anID).Replace(path)
		for method, op := range item.Operations() {
			e := example{op.OperationID, method, path, ""}
			if method == http.MethodPatch {
				e.body = `{"role":"member"}`
			}
			all = append(all, e)
		}
	}
	return all
}

// documented reports whether an operation promises a status.
func documented(id string, status int) bool {
	for _, item := range described().Paths.Map() {
		for _, op := range item.Operations() {
			if op.OperationID == id {
				return op.Responses.Value(fmt.Sprint(status)) != nil
			}
		}
	}
	return false
}

// TestErrorsOfTheStore: each error, at each operation, is answered with what the description promises, and with nothing of the cause.
func TestErrorsOfTheStore(t *testing.T) {
	t.Parallel()
	const inside = "10.0.0.7:6379 said WRONGPASS"
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{session.ErrNotFound, 404, "not_found"},
		{session.ErrCorrupt, 404, "not_found"},
		{session.ErrAmbiguous, 409, "ambiguous"},
		{session.ErrConflict, 409, "conflict"},
		{session.ErrTooLarge, 400, "too_large"},
		{session.ErrInvalidUser, 400, "invalid_user"},
		{fmt.Errorf("%w: role is not UTF-8", session.ErrInvalidChange), 400, "invalid_change"},
		{fmt.Errorf("%w: %w: %s", session.ErrUnconfirmed, session.ErrUnavailable, inside), 503, "unconfirmed"},
		{fmt.Errorf("%w: %s", session.ErrUnavailable, inside), 503, "unavailable"},
		{errors.New(inside), 500, "internal"},
	} {
		l := withFake(t, &fake{err: c.err})
		met := 0
		for _, e := range examples() {
			if strings.HasPrefix(e.id, "openapi") || !documented(e.id, c.status) {
				continue
			}
			met++
			got := l.ask(e.method, e.path, e.body)
			got.says(t, c.status, c.code)
			if strings.Contains(string(got.body), inside) || (got.Header.Get("Retry-After") != "") != (c.status == 503) {
				t.Errorf("%s: %v %s", e.id, got.Header, got.body)
			}
		}
		if met == 0 {
			t.Errorf("%v: no operation promises %d", c.err, c.status)
		}
		if told := strings.Contains(l.log.String(), inside); told != strings.Contains(c.err.Error(), inside) {
			t.Errorf("%v: in the log: %t", c.err, told)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	f := &fake{}
	l := withFake(t, f)
	for _, e := range examples() {
		l.ask(e.method, e.path+"?excpet="+anID, e.body).says(t, 400, "bad_request")
		l.ask(e.method, e.path+"?%zz", e.body).says(t, 400, "bad_request")
	}
	long := `{"name":"` + strings.Repeat("x", 64<<10) + `"}`
	const user = "/api/v1/users/42/sessions"
	for _, c := range []struct {
		method, path, body string
		header             []string
		status             int
		code               string
	}{
		{"GET", "/api/v1/users/%FF/sessions", "", nil, 400, "invalid_user"},
		{"GET", "/api/v1/sessions/short", "", nil, 400, "bad_request"},
		{"GET", "/api/v1/sessions/" + anID + "x", "", nil, 400, "bad_request"},
		{"GET", "/api/v1/sessions/01234567*", "", nil, 400, "bad_request"},
		{"DELETE", "/api/v1/sessions/" + session.NewToken("42"), "", nil, 400, "bad_request"},
		{"DELETE", user + "?except=", "", nil, 400, "bad_request"},
		{"DELETE", user + "?except=" + anID + ",x", "", nil, 400, "bad_request"},
		{"DELETE", user + "?" + strings.Repeat("except="+anID+"&", 101), "", nil, 400, "bad_request"},
		{"GET", user + "?except=" + anID, "", nil, 400, "bad_request"},
		{"PATCH", user, long, nil, 413, "body_too_large"},
		{"PATCH", user, `{"role":"x"}`, []string{"Content-Type", ""}, 415, "unsupported_media_type"},
		{"PATCH", user, `{"role":"x"}`, []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
		{"PATCH", user, `{"role":"x"}`, []string{"Content-Type", "application/json; charset=latin1"}, 415, "unsupported_media_type"},
		{"PATCH", user, `{"role":"x"}`, []string{"Content-Type", "application/json;;"}, 415, "unsupported_media_type"},
		{"PATCH", user, `{"userId":"1"}`, nil, 400, "bad_request"},
		// Paths that are not the API's, or not the one they seem to be.
		{"GET", "/api/v1/users//sessions", "", nil, 404, "not_found"},
		{"GET", "/api/v1/users/42/sessions/", "", nil, 404, "not_found"},
		{"GET", "/api/v1/users/x/../42/sessions", "", nil, 404, "not_found"},
		{"GET", "/api/v1//stats", "", nil, 404, "not_found"},
		{"GET", "/api/v1/users/a/b/sessions", "", nil, 404, "not_found"},
		{"GET", "/api/v2/stats", "", nil, 404, "not_found"},
		{"GET", "/api/", "", nil, 404, "not_found"},
		{"POST", user, "", nil, 405, "method_not_allowed"},
		{"PUT", user, "", nil, 405, "method_not_allowed"},
		{"POST", "/api/v1/export", "", nil, 405, "method_not_allowed"},
		{"OPTIONS", "/api/v1/stats", "", nil, 405, "method_not_allowed"},
	} {
		got := l.ask(c.method, c.path, c.body, c.header...)
		got.says(t, c.status, c.code)
		if (got.Header.Get("Allow") != "") != (c.status == 405) {
			t.Errorf("%s %s: Allow %q", c.method, c.path, got.Header.Get("Allow"))
		}
	}
	if got := l.ask("PUT", user, ""); got.Header.Get("Allow") != "DELETE, GET, PATCH" {
		t.Errorf("Allow %q", got.Header.Get("Allow"))
	}
	if len(f.called) != 0 {
		t.Errorf("a bad request has reached the store: %v", f.called)
	}
}

// What is asked for is what is done.
func TestWhatReachesTheStore(t *testing.T) {
	t.Parallel()
	f := &fake{}
	l := withFake(t, f)
	for _, c := range []struct{ method, path, body, calls, user string }{
		{"GET", "/api/v1/users/a%2Fb/sessions", "", "list", "a/b"},
		{"DELETE", "/api/v1/users/a%20b/sessions", "", "revoke user", "a b"},
		{"DELETE", "/api/v1/users/u/sessions?except=" + anID[:8], "", "show, revoke user", "u"},
		{"PATCH", "/api/v1/users/u/sessions", `{"role":"m"}`, "change", "u"},
		{"GET", "/api/v1/users/u/sessions/" + anID, "", "show", "u"},
		{"DELETE", "/api/v1/users/u/sessions/" + anID, "", "show, revoke", "u"},
		{"GET", "/api/v1/sessions/" + anID, "", "show", ""},
		{"GET", "/api/v1/stats", "", "stats", ""},
		{"GET", "/api/v1/audit", "", "audit false", ""},
		{"POST", "/api/v1/audit/repair", "", "audit true", ""},
		{"GET", "/api/v1/export", "", "each", ""},
	} {
		f.called, f.user = nil, ""
		if got := l.ask(c.method, c.path, c.body); got.StatusCode != 200 || strings.Join(f.called, ", ") != c.calls || f.user != c.user {
			t.Errorf("%s %s: %d %s; calls %v for %q", c.method, c.path, got.StatusCode, got.body, f.called, f.user)
		}
	}
	if f.change.Role == nil || *f.change.Role != "m" || f.change.Name != nil || f.change.EmailVerified != nil || f.change.Email != nil {
		t.Errorf("change %+v", f.change)
	}
}

// The log says who did what, and never repeats a path: people put a token where the ID belongs.
func TestAccessLog(t *testing.T) {
	t.Parallel()
	f := &fake{}
	l := withFake(t, f)
	token := session.NewToken("42")
	l.ask("GET", "/api/v1/sessions/"+token, "")
	l.ask("GET", "/api/v1/"+token, "")
	l.ask("DELETE", "/api/v1/users/u%2F1/sessions/"+anID, "")
	log := l.log.String()
	if strings.Contains(log, token) || strings.Contains(log, token[12:]) || strings.Contains(log, secret) {
		t.Error("a token is in the log")
	}
	for _, part := range []string{`"path":"/api/v1/sessions/{id}","status":400`, `"path":"(no path of the API)","status":404`,
		`"method":"DELETE","path":"/api/v1/users/{userID}/sessions/{id}","status":200`, `"user":"u/1"`, `"rule":"admin"`, `"client":"127.0.0.1"`} {
		if !strings.Contains(log, part) {
			t.Errorf("no %s in %s", part, log)
		}
	}
}

// An export that breaks off must not look like a whole one.
func TestExportBreaksOff(t *testing.T) {
	t.Parallel()
	f := &fake{}
	for name, lines := range map[string]int{"early": 1, "late": 5000} {
		f.each = func(each func(*session.Record, error) error) error {
			for range lines {
				if err := each(f.record("u"), nil); err != nil {
					return err
				}
			}
			return fmt.Errorf("%w: gone", session.ErrUnavailable)
		}
		l := withFake(t, f)
		req, err := http.NewRequestWithContext(t.Context(), "GET", l.url+"/api/v1/export", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		resp, err := l.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := readAll(resp)
		got := strings.Split(strings.TrimSpace(body), "\n")
		if err == nil || len(got) != lines+1 || !strings.Contains(got[lines], `"code":"unavailable"`) {
			t.Errorf("%s: %d lines, the last %q, error %v; want a cut connection", name, len(got), got[len(got)-1], err)
		}
		if !strings.Contains(l.log.String(), "gone") {
			t.Errorf("%s: the log does not say why", name)
		}
	}
}

// One request at a time goes through all sessions.
func TestScansDoNotOverlap(t *testing.T) {
	t.Parallel()
	begun, end := make(chan struct{}), make(chan struct{})
	f := &fake{each: func(func(*session.Record, error) error) error {
		close(begun)
		<-end
		return nil
	}}
	l := withFake(t, f)
	finish := sync.OnceFunc(func() { close(end) })
	defer finish() // or a failure would leave the listener waiting for ever
	done := make(chan answer, 1)
	go func() {
		defer close(done)
		done <- l.ask("GET", "/api/v1/export", "")
	}()
	<-begun
	for _, e := range examples() {
		if slices.Contains([]string{"stats", "audit", "repair", "export", "showSession", "revokeSession"}, e.id) {
			got := l.ask(e.method, e.path, "")
			got.says(t, 503, "busy")
			if got.Header.Get("Retry-After") == "" {
				t.Error("no Retry-After")
			}
		}
	}
	for _, path := range []string{"/api/v1/users/u/sessions", "/api/v1/users/u/sessions/" + anID} {
		if got := l.ask("GET", path, ""); got.StatusCode != 200 {
			t.Errorf("%s, which scans nothing: %d", path, got.StatusCode)
		}
	}
	finish()
	if got, ok := <-done; !ok || got.StatusCode != 200 {
		t.Errorf("the first: %+v", got)
	}
	if got := l.ask("GET", "/api/v1/stats", ""); got.StatusCode != 200 {
		t.Errorf("afterwards: %d", got.StatusCode)
	}
}

// The description is served as it is in the source, and as the same in JSON.
func TestDescription(t *testing.T) {
	t.Parallel()
	l := withFake(t, &fake{})
	for _, kind := range []string{"yaml", "json"} {
		got := l.ask("GET", "/api/v1/openapi."+kind, "")
		doc, err := openapi3.NewLoader().LoadFromData(got.body)
		if err != nil || got.Header.Get("Content-Type") != "application/"+kind {
			t.Fatalf("%s: %s, %v", kind, got.Header.Get("Content-Type"), err)
		}
		if err := doc.Validate(t.Context()); err != nil || doc.Paths.Len() != described().Paths.Len() {
			t.Errorf("%s: %d paths, %v", kind, doc.Paths.Len(), err)
		}
	}
}

func readAll(resp *http.Response) (string, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}
