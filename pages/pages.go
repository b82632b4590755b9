// Package pages writes what a person sees of the gateway itself: the login form, the logout
// button, their own sessions, and a page for each problem; for programs the same problems as JSON.
//
// The pages are embedded, load nothing from anywhere, run no script, and are bound by a
// Content-Security-Policy that names the hash of their one style sheet. A folder of templates can
// replace them (see [New]).
package pages

import (
	"html/template"
	"net/http"
	"strings"
	"unicode/utf8"

	"gatehouse/config"
	"gatehouse/telemetry"
)

// The names of the login form's fields. A replaced login.html must use them too.
const (
	FieldAccount  = "account"
	FieldPassword = "password"
	FieldNext     = "next"
)

// Pages writes pages. It never changes after [New] and may be used by many goroutines at once.
type Pages struct {
	title    string
	style    template.CSS
	login    page
	logout   page
	sessions page
	// problem serves every status that has no page of its own.
	problem page
}

// page is a parsed template and the policy that fits it.
type page struct {
	name     string
	template *template.Template
	policy   string // the Content-Security-Policy
}

// New parses the embedded pages and puts the files of cfg.Templates in their place.
//
// That folder may hold login.html, logout.html, sessions.html, problem.html, layout.html (the frame the
// four embedded pages stand in) and style.css (given to the templates as .Style). Files beginning with
// a dot are passed over, any other name is an error. The templates are html/template; every one
// knows .Site (the application's name) and .Style. Beside these
//   - login.html knows .Action, .Next, .Account and .Message, and must post fields named account,
//     password and next;
//   - logout.html knows .Action, .Next and .User;
//   - sessions.html knows .Action, .User, .Message and .Failed (whether that is bad news), .Others (how many
//     sessions there are besides this one) and .Sessions, each with .ID, .Device, .UserAgent, .Address, .Current
//     and the times .LoggedIn, .LastSeen and .Ends, which may be missing and have .Stamp (for <time datetime>),
//     .Text (in UTC) and .Distance ("3 hours ago"). Its forms must post action=end with id, action=end_others
//     or action=end_all;
//   - problem.html knows .Status, .Code, .Heading, .Message, .Wait ("30 seconds" or empty), .LoginURL,
//     .Retry and .Home (whether a link to the same or the start page makes sense) and .RequestID.
//
// A <style> element is allowed if its text is the same in every page made of the template, because
// its hash stands in the Content-Security-Policy. Scripts, style attributes and outside assets are
// not: the policy would block them, so they are errors here. Errors name file and line.
func New(cfg config.Pages) (*Pages, error) {
	files, err := load(cfg.Templates)
	if err != nil {
		return nil, err
	}
	p := &Pages{title: cfg.Title, style: template.CSS(files[styleFile])} // #nosec G203 -- the embedded style, or the operator's own
	if p.login, err = files.page("login.html", p.loginSamples()); err != nil {
		return nil, err
	}
	if err := files.checkLogin(p.login, p.loginSamples()[0]); err != nil {
		return nil, err
	}
	if p.logout, err = files.page("logout.html", p.logoutSamples()); err != nil {
		return nil, err
	}
	if p.sessions, err = files.page("sessions.html", p.sessionsSamples()); err != nil {
		return nil, err
	}
	if p.problem, err = files.page("problem.html", p.problemSamples()); err != nil {
		return nil, err
	}
	return p, nil
}

// frame is what every page knows.
type frame struct {
	// Site names the application: the configured title, or the host people typed.
	Site  string
	Style template.CSS
}

func (p *Pages) frame(r *http.Request) frame {
	site := p.title
	if site == "" {
		site = telemetry.RequestFrom(r.Context()).Host
	}
	if site == "" {
		site = r.Host
	}
	return frame{Site: shorten(site, 100), Style: p.style}
}

// LoginView is what the login form shows.
type LoginView struct {
	// Action is the path the form posts to.
	Action string
	// Next is where to go after login, a path that was judged safe. Empty: the field is left out.
	Next string
	// Account is what was typed before, to spare typing it again.
	Account string
	// Message says why the last attempt failed. Empty: no message.
	Message string
}

type loginData struct {
	frame
	LoginView
}

// Login writes the login form with the given status.
func (p *Pages) Login(w http.ResponseWriter, r *http.Request, status int, v LoginView) {
	p.write(w, r, status, p.login, loginData{p.frame(r), v})
}

// LogoutView is what the logout page shows.
type LogoutView struct {
	// Action is the path the button posts to.
	Action string
	// Next is where to go afterwards, a path that was judged safe. Empty: the start page.
	Next string
	// User is the name or email of who is logged in. Empty: nobody is, and the page says so.
	User string
}

type logoutData struct {
	frame
	LogoutView
}

// Logout writes the logout button, or "You are logged out" when v.User is empty. The page is
// needed because a GET must log nobody out: any other site could put it into an <img>.
func (p *Pages) Logout(w http.ResponseWriter, r *http.Request, status int, v LogoutView) {
	v.User = shorten(v.User, 200)
	p.write(w, r, status, p.logout, logoutData{p.frame(r), v})
}

// shorten cuts s at n runes, with an ellipsis, so that no name can push the page's sense out of sight.
func shorten(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	return strings.TrimSpace(string([]rune(s)[:n-1])) + "…"
}

// The samples are what the trial execution in New is made of: each branch of the embedded pages
// runs at least once.

func (p *Pages) sampleFrame() frame { return frame{Site: "app.example.com", Style: p.style} }

func (p *Pages) loginSamples() []any {
	return []any{
		loginData{p.sampleFrame(), LoginView{Action: "/login", Next: "/account"}},
		loginData{p.sampleFrame(), LoginView{Action: "/login", Account: "a@example.com", Message: "Try again."}},
	}
}

func (p *Pages) logoutSamples() []any {
	return []any{
		logoutData{p.sampleFrame(), LogoutView{Action: "/logout", User: "Ann", Next: "/account"}},
		logoutData{p.sampleFrame(), LogoutView{}},
	}
}

func (p *Pages) problemSamples() []any {
	full := problemData{frame: p.sampleFrame(), Status: 503, Code: "unavailable", Heading: "Heading",
		Message: "Message.", Wait: "5 seconds", Retry: true, RequestID: "id"}
	login, home, bare := full, full, full
	login.LoginURL, login.Retry = "/login", false
	home.Home, home.Retry = true, false
	bare.Wait, bare.Retry, bare.RequestID = "", false, ""
	return []any{full, login, home, bare}
}
