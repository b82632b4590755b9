package pages

import (
	"fmt"
	"net/http"
	"time"
)

// The names and values of the forms on the page of sessions. A replaced sessions.html must use them too.
const (
	FieldAction = "action"
	FieldID     = "id"

	// ActionEnd ends the session named by FieldID; the others need no field.
	ActionEnd       = "end"
	ActionEndOthers = "end_others"
	ActionEndAll    = "end_all"
)

// SessionsView is what the page of a person's own sessions shows.
type SessionsView struct {
	// Action is the path the forms post to.
	Action string
	// User is the name or email of who is logged in.
	User string
	// Message says what has happened. Empty: no message.
	Message string
	// Failed: the message is bad news.
	Failed bool
	// Now is the time the page speaks of as now.
	Now time.Time
	// Sessions in the order they are shown.
	Sessions []SessionView
}

// SessionView is one session of the page.
type SessionView struct {
	// ID is the session ID, never a token.
	ID string
	// Device is what the browser seems to be, UserAgent what it said of itself.
	Device, UserAgent string
	// Address the person logged in from. Empty: not known.
	Address string
	// Current: the session this page was asked for in.
	Current bool
	// LoggedIn, LastSeen and Ends (at the latest). Zero: not known.
	LoggedIn, LastSeen, Ends time.Time
}

// sessionsData is what sessions.html knows.
type sessionsData struct {
	frame
	Action  string
	User    string
	Message string
	Failed  bool
	// Others is how many sessions there are besides this one.
	Others   int
	Sessions []sessionData
}

// sessionData is one of .Sessions.
type sessionData struct {
	ID, Device, UserAgent, Address string
	Current                        bool
	LoggedIn, LastSeen, Ends       *moment
}

// moment is a time as a page shows it; nil when it is not known.
type moment struct {
	// Stamp is for the attribute datetime, Text for people.
	Stamp, Text string
	// Distance is how far away it is: "3 hours ago", "in 29 days". It needs no time zone.
	Distance string
}

// Sessions writes the page on which people see and end their own sessions, with the given status.
func (p *Pages) Sessions(w http.ResponseWriter, r *http.Request, status int, v SessionsView) {
	p.write(w, r, status, p.sessions, p.sessionsData(p.frame(r), v))
}

func (p *Pages) sessionsData(f frame, v SessionsView) sessionsData {
	d := sessionsData{frame: f, Action: v.Action, User: shorten(v.User, 200), Message: v.Message, Failed: v.Failed}
	for _, s := range v.Sessions {
		if !s.Current {
			d.Others++
		}
		d.Sessions = append(d.Sessions, sessionData{
			ID: s.ID, Device: shorten(s.Device, 80), UserAgent: s.UserAgent, Address: shorten(s.Address, 80), Current: s.Current,
			LoggedIn: momentOf(s.LoggedIn, "%s ago", v.Now.Sub(s.LoggedIn)), LastSeen: momentOf(s.LastSeen, "%s ago", v.Now.Sub(s.LastSeen)),
			Ends: momentOf(s.Ends, "in %s", s.Ends.Sub(v.Now)),
		})
	}
	return d
}

// momentOf writes a time in UTC: a page without a script cannot know the zone of who reads it.
func momentOf(t time.Time, form string, away time.Duration) *moment {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &moment{Stamp: t.Format(time.RFC3339), Text: t.Format("2 Jan 2006, 15:04 UTC"), Distance: fmt.Sprintf(form, distance(away))}
}

// distance puts how far away a time is into words, rounded down to hours or days: it is no more exact, since the
// use of a session is noted only now and then. A time on the wrong side of now comes from another replica's clock.
func distance(d time.Duration) string {
	n, unit := int(d/time.Hour), "hour"
	switch {
	case n < 1:
		return "under an hour"
	case n >= 48:
		n, unit = n/24, "day"
	}
	if n > 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}

// sessionsSamples run each branch of the embedded page at least once.
func (p *Pages) sessionsSamples() []any {
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	here := SessionView{ID: "id-1", Device: "Firefox on Windows", UserAgent: "Mozilla/5.0", Address: "192.0.2.1", Current: true,
		LoggedIn: now.Add(-time.Hour), LastSeen: now, Ends: now.Add(time.Hour)}
	there := SessionView{ID: "id-2", Device: "Unknown device"}
	full := SessionsView{Action: "/.gatehouse/sessions", User: "Ann", Message: "Message.", Now: now, Sessions: []SessionView{here, there}}
	failed, alone := full, full
	failed.Failed = true
	alone.Message, alone.Sessions = "", full.Sessions[:1]
	var samples []any
	for _, v := range []SessionsView{full, failed, alone} {
		samples = append(samples, p.sessionsData(p.sampleFrame(), v))
	}
	return samples
}
