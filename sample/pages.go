package sample

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"slices"
	"strconv"
)

//go:embed templates/*.html
var templates embed.FS

// pages renders the templates, each inside layout.html.
type pages struct{ byName map[string]*template.Template }

func newPages() *pages {
	p := &pages{byName: map[string]*template.Template{}}
	for _, name := range []string{"home", "login", "dashboard", "account", "admin", "echo", "chat", "upload", "problem"} {
		p.byName[name] = template.Must(template.ParseFS(templates, "templates/layout.html", "templates/"+name+".html"))
	}
	return p
}

// render writes a page. It is made in memory first, so that a failing template is a clean 500
// instead of half a page with status 200.
func (p *pages) render(w http.ResponseWriter, status int, name string, v view) {
	var page bytes.Buffer
	if err := p.byName[name].ExecuteTemplate(&page, "layout", v); err != nil {
		http.Error(w, "this page is broken", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(page.Len()))
	w.WriteHeader(status)
	_, _ = w.Write(page.Bytes()) // the client has gone, nobody is left to tell
}

// view is what the templates see.
type view struct {
	Title   string
	Caller  caller // by header or cookie
	Own     caller // by the application's own cookie
	CSRF    string
	Failed  bool
	Message string
	Lines   []line
	Users   []User
}

// line is one line of a table.
type line struct{ Name, Value string }

func (a *app) view(r *http.Request, title string) view {
	return view{Title: title, Caller: a.caller(r), Own: a.ownCaller(r)}
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	a.pages.render(w, http.StatusOK, "home", a.view(r, "Welcome"))
}

func (a *app) dashboard(w http.ResponseWriter, r *http.Request) {
	a.pages.render(w, http.StatusOK, "dashboard", a.view(r, "Dashboard"))
}

func (a *app) account(w http.ResponseWriter, r *http.Request) {
	a.pages.render(w, http.StatusOK, "account", a.view(r, "Your account"))
}

// admin looks at the role itself as well: what the rules of a gateway allow is one thing, what the
// application does for whom is its own.
func (a *app) admin(w http.ResponseWriter, r *http.Request) {
	if a.caller(r).Role != "admin" {
		a.problem(w, r, http.StatusForbidden, "This page is for administrators.")
		return
	}
	v := a.view(r, "Administration")
	v.Users = Users()
	a.pages.render(w, http.StatusOK, "admin", v)
}

func (a *app) chat(w http.ResponseWriter, r *http.Request) {
	a.pages.render(w, http.StatusOK, "chat", a.view(r, "Chat"))
}

func (a *app) uploadForm(w http.ResponseWriter, r *http.Request) {
	a.pages.render(w, http.StatusOK, "upload", a.view(r, "Upload"))
}

func (a *app) notFound(w http.ResponseWriter, r *http.Request) {
	a.problem(w, r, http.StatusNotFound, "There is no page at this address.")
}

func (a *app) problem(w http.ResponseWriter, r *http.Request, status int, message string) {
	v := a.view(r, http.StatusText(status))
	v.Message = message
	a.pages.render(w, status, "problem", v)
}

// echo shows the request as it arrived: as a page, or as JSON with ?format=json.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	if r.URL.Query().Get("format") == "json" {
		writeJSON(w, http.StatusOK, map[string]any{
			"method": r.Method, "target": r.RequestURI, "proto": r.Proto, "host": r.Host, "headers": r.Header,
		})
		return
	}
	v := a.view(r, "What the application got")
	v.Message = r.Method + " " + r.RequestURI + " " + r.Proto
	v.Lines = []line{{"Host", r.Host}}
	for name, values := range r.Header {
		for _, value := range values {
			v.Lines = append(v.Lines, line{name, value})
		}
	}
	slices.SortStableFunc(v.Lines[1:], func(a, b line) int { return bytes.Compare([]byte(a.Name), []byte(b.Name)) })
	a.pages.render(w, http.StatusOK, "echo", v)
}
