package pages_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/pages"
)

// threeSessions is a full page: this one, one from elsewhere, and one of which little is known.
func threeSessions() pages.SessionsView {
	now := time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC)
	return pages.SessionsView{
		Action: "/.gatehouse/sessions", User: "Ann", Message: "That session has ended.", Now: now,
		Sessions: []pages.SessionView{
			{ID: "id-1", Device: "Firefox on Windows", UserAgent: "Mozilla/5.0 (Windows NT 10.0)", Address: "192.0.2.1", Current: true,
				LoggedIn: now.Add(-3 * time.Hour), LastSeen: now.Add(-time.Minute), Ends: now.Add(29*24*time.Hour + time.Minute)},
			{ID: "id-2", Device: "Chrome on Android (Pixel 7)", Address: "2001:db8::7", LoggedIn: now.Add(-50 * time.Hour).In(time.FixedZone("X", 3600)),
				LastSeen: now.Add(-90 * time.Minute), Ends: now.Add(10 * time.Minute)},
			{ID: "id-3", Device: "Unknown device"},
		},
	}
}

// forms are the fields each form of a page posts, as name=value.
func forms(page node) (all []string) {
	for _, form := range page.all("form") {
		fields := []string{form.get("method"), form.get("action")}
		for _, in := range form.all("input") {
			fields = append(fields, in.get("name")+"="+in.get("value"))
		}
		all = append(all, strings.Join(fields, " "))
	}
	return all
}

func TestSessionsPage(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newPages(t, config.Pages{}).Sessions(w, request("GET", "/"), 200, threeSessions())
	page := parse(t, w.Body)
	want := strings.Join([]string{
		"post /.gatehouse/sessions action=end id=id-1", "post /.gatehouse/sessions action=end id=id-2", "post /.gatehouse/sessions action=end id=id-3",
		"post /.gatehouse/sessions action=end_others", "post /.gatehouse/sessions action=end_all",
	}, "\n")
	if got := strings.Join(forms(page), "\n"); got != want {
		t.Errorf("forms:\n%s\nwant\n%s", got, want)
	}
	var times, names []string
	for _, at := range page.all("time") {
		times = append(times, at.get("datetime")+" "+at.text())
	}
	for _, b := range page.all("button") {
		names = append(names, b.get("aria-label"))
		if label := b.get("aria-label"); label != "" && !strings.HasPrefix(label, b.text()) {
			t.Errorf("a button says %q and is called %q: who speaks to the browser cannot press it", b.text(), label)
		}
	}
	if got, want := strings.Join(times, "\n"), `2026-03-04T12:06:07Z 4 Mar 2026, 12:06 UTC
2026-04-02T15:07:07Z 2 Apr 2026, 15:07 UTC
2026-03-02T13:06:07Z 2 Mar 2026, 13:06 UTC
2026-03-04T13:36:07Z 4 Mar 2026, 13:36 UTC
2026-03-04T15:16:07Z 4 Mar 2026, 15:16 UTC`; got != want {
		t.Errorf("times:\n%s\nwant\n%s", got, want)
	}
	if names[0] != "Log out here: Firefox on Windows" || names[1] != "End session: Chrome on Android (Pixel 7)" || len(names) != 5 {
		t.Errorf("buttons %q", names)
	}
	text := page.one(t, "main").text()
	for _, part := range []string{"(3 hours ago)", "(in 29 days)", "(2 days ago)", "(1 hour ago)", "(in under an hour)", "not known", "That session has ended."} {
		if !strings.Contains(text, part) {
			t.Errorf("the page does not say %q: %s", part, text)
		}
	}
	if h2 := page.all("h2"); len(h2) != 3 || h2[0].get("title") != "Mozilla/5.0 (Windows NT 10.0)" || strings.Count(text, "This session") != 1 {
		t.Errorf("%d sessions: %s", len(h2), text)
	}
}

func TestSessionsPageAlone(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	v := threeSessions()
	v.Sessions = v.Sessions[:1]
	newPages(t, config.Pages{}).Sessions(w, request("GET", "/"), 200, v)
	if got := forms(parse(t, w.Body)); len(got) != 1 {
		t.Errorf("with no other session there is nothing else to end: %q", got)
	}
}

// TestSessionsDistance: rounded down, and never on the wrong side of now.
func TestSessionsDistance(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	for _, c := range []struct {
		away time.Duration
		want string
	}{
		{0, "under an hour"}, {-time.Minute, "under an hour"}, {-90 * time.Minute, "under an hour"}, {59*time.Minute + 59*time.Second, "under an hour"},
		{time.Hour, "1 hour"}, {2*time.Hour - 1, "1 hour"}, {2 * time.Hour, "2 hours"}, {47 * time.Hour, "47 hours"}, {48 * time.Hour, "2 days"}, {719 * time.Hour, "29 days"},
	} {
		now := time.Date(2026, 3, 4, 15, 6, 7, 0, time.UTC)
		v := pages.SessionsView{User: "Ann", Now: now, Sessions: []pages.SessionView{{LoggedIn: now.Add(-c.away), Ends: now.Add(c.away)}}}
		w := httptest.NewRecorder()
		p.Sessions(w, request("GET", "/"), 200, v)
		if text := parse(t, w.Body).one(t, "dl").text(); !strings.Contains(text, "("+c.want+" ago)") || !strings.Contains(text, "(in "+c.want+")") {
			t.Errorf("%v: %s, want %s", c.away, text, c.want)
		}
	}
}

// TestSessionsHostile: device, User-Agent and address are whatever a client made of them.
func TestSessionsHostile(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{})
	for _, evil := range []string{`"><script>alert(1)</script>`, `' onfocus='x`, "</title><h1>", "{{.Style}}", "</ul></main><b>", strings.Repeat("<i>", 5000)} {
		v := threeSessions()
		v.User, v.Message, v.Action = evil, evil, evil
		for i := range v.Sessions {
			v.Sessions[i].ID, v.Sessions[i].Device, v.Sessions[i].UserAgent, v.Sessions[i].Address = evil, evil, evil, evil
		}
		w := httptest.NewRecorder()
		p.Sessions(w, request("GET", "/"), 200, v)
		page := parse(t, w.Body)
		sameStructure(t, evil, page, "main", "ul", "strong", "li", "li", "li", "dl", "dl", "dl", "button", "button", "button", "button", "button")
		if h2 := page.all("h2"); h2[0].get("title") != evil || len([]rune(h2[0].text())) > 80 {
			t.Errorf("%.40q: the device is %.100q", evil, h2[0].text())
		}
		for _, form := range page.all("form") {
			checkLink(t, form.get("action"))
		}
	}
}

func TestReplacedSessionsPage(t *testing.T) {
	t.Parallel()
	own := folder(t, "sessions.html", `<ul>{{range .Sessions}}<li>{{.Device}} {{with .Ends}}{{.Stamp}}{{end}}</li>{{end}}</ul>{{.Others}} more at {{.Site}}`)
	w := httptest.NewRecorder()
	newPages(t, config.Pages{Templates: own}).Sessions(w, request("GET", "/"), 200, threeSessions())
	if want := "<li>Firefox on Windows 2026-04-02T15:07:07Z</li>"; !strings.Contains(w.Body.String(), want) || !strings.Contains(w.Body.String(), "2 more at app.example.com") {
		t.Errorf("want %s in %s", want, w.Body)
	}
	// Ends is missing in one of the samples, so that a template which always needs it is an error at start.
	if _, err := pages.New(config.Pages{Templates: folder(t, "sessions.html", "a\n{{range .Sessions}}{{.Ends.Stamp}}{{end}}")}); err == nil || !strings.Contains(err.Error(), "sessions.html:2") {
		t.Errorf("%v", err)
	}
}

func TestUnconfirmedEnd(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	newPages(t, config.Pages{}).Problem(w, request("POST", "/.gatehouse/sessions"), pages.Problem{
		Status: 503, Code: pages.CodeEndUnconfirmed, Message: "Not confirmed.", RetryAfter: 5 * time.Second})
	text := w.Body.String()
	if got := parse(t, w.Body).one(t, "h1").text(); got != "Ended here, not yet confirmed" || strings.Contains(text, "Try again") || w.Header().Get("Retry-After") != "5" {
		t.Errorf("heading %q, Retry-After %q\n%s", got, w.Header().Get("Retry-After"), text)
	}
}
