package sample

import "net/http"

// maxForm bounds the forms this application reads.
const maxForm = 64 << 10

// loginForm shows the form. A browser without a session gets an anonymous one, which the form's
// hidden CSRF token belongs to: so do Django and Rails.
func (a *app) loginForm(w http.ResponseWriter, r *http.Request) {
	s := a.sessions.find(r)
	if s == nil {
		s = a.sessions.start(w, r, nil)
	}
	w.Header().Set("Cache-Control", "no-store")
	view := a.view(r, "Log in")
	view.CSRF = s.csrf
	view.Failed = r.URL.Query().Has("error")
	a.pages.render(w, http.StatusOK, "login", view)
}

// login redirects whether it succeeds or not, as many applications do: only where to tells.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if !a.sessions.find(r).allows(r.PostFormValue("csrf_token")) {
		a.problem(w, r, http.StatusForbidden, "The form has expired. Please go back, reload it and try again.")
		return
	}
	user, ok := authenticate(r.PostFormValue("email"), r.PostFormValue("password"))
	if !ok {
		a.opts.Log.Info().Msg("sample application: login refused")
		http.Redirect(w, r, "/login?error=1", http.StatusFound)
		return
	}
	a.sessions.start(w, r, &user)
	a.opts.Log.Info().Int64("user", user.ID).Msg("sample application: login")
	http.Redirect(w, r, "/dashboard", http.StatusFound)
}

// logout asks for no CSRF token: the cookie is SameSite=Lax, so no other site's form carries it, and
// the gateway's own logout button has no token to send.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.sessions.end(w, r)
	http.Redirect(w, r, "/", http.StatusFound)
}

// signedIn sends everybody who is not logged in to the form.
func (a *app) signedIn(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.caller(r).SignedIn() {
			http.Redirect(w, r, "/login", http.StatusFound)
			return
		}
		next(w, r)
	}
}
