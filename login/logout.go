package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse/internal/fault"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// Logout answers every request at the logout path. GET and HEAD show a button: whoever could log
// somebody out by a GET could do it with an image on another site (L01). POST logs out:
//
//   - the session is revoked in Redis, the browser's cookie is cleared, its cache too (Clear-Site-Data,
//     so that the Back button shows no protected page, S13), and the backend ends what it keeps;
//   - 303 to the form's next when it is safe (SafeNext), else to where the application points, else
//     to "/"; programs get 200 {"next": "/…"};
//   - 503 with Retry-After when Redis could not confirm: this replica refuses the session from now
//     on and goes on telling Redis, but another replica may serve it until then, and the person is
//     told. The cookie is cleared all the same: that is what they asked for.
func (h *Handler) Logout(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	if err := methods(w, r, "GET, HEAD, POST", http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		h.refuseLogout(w, r, err)
		return
	}
	if r.Method == http.MethodPost {
		h.logout(w, r)
		return
	}
	next, _ := SafeNext(r.URL.Query().Get(fieldNext), h.cfg.Path, h.cfg.LogoutPath)
	h.deps.Pages.Logout(w, r, http.StatusOK, pages.LogoutView{Action: h.cfg.LogoutPath, Next: next, User: h.whoIs(w, r)})
}

// whoIs names the user for the logout page; "" when nobody is logged in.
func (h *Handler) whoIs(w http.ResponseWriter, r *http.Request) string {
	token, n := h.deps.Cookies.Read(r.Header)
	if n > 1 {
		http.SetCookie(w, h.deps.Cookies.Clear()) // S01
	}
	s, err := h.find(r, token)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return ""
	case err != nil: // they may well be logged in, and must have the button
		return "somebody whose name cannot be looked up at the moment"
	}
	return nameOf(s.User)
}

// find looks for the session of the gateway's cookie, and without one for that of the application's.
func (h *Handler) find(r *http.Request, token string) (s session.Session, err error) {
	err = session.ErrNotFound
	if _, ok := session.ParseToken(token); ok {
		s, err = h.deps.Sessions.Find(r.Context(), token)
	}
	if app, ok := h.deps.AppCookie.Read(r.Header); ok && errors.Is(err, session.ErrNotFound) {
		return h.deps.Sessions.FindApp(r.Context(), app)
	}
	return s, err
}

func (h *Handler) logout(w http.ResponseWriter, r *http.Request) {
	if err := h.sameOrigin(r); err != nil {
		h.refuseLogout(w, r, err)
		return
	}
	next, err := logoutNext(w, r)
	if err != nil {
		h.refuseLogout(w, r, err)
		return
	}
	token, _ := h.deps.Cookies.Read(r.Header) // "" when there are two: whose they are is unknown (S01)
	// Who presses the button and closes the window is logged out too.
	ctx := context.WithoutCancel(r.Context())
	rec, err := h.endBoth(ctx, r, token)
	fault.Point("logout.revoked")
	var limit *LimitError
	if errors.As(err, &limit) {
		h.noteLimit(r, limit)
		h.refuseLogout(w, r, err)
		return
	}
	h.leave(ctx, w, r, rec, token, err, next)
}

// leave is the end of every logout: the application is logged out of, the browser forgets, and the person is sent on, to next
// if there is one, or told what is not confirmed. r is the request as the application gets it, err what ending the sessions gave.
func (h *Handler) leave(ctx context.Context, w http.ResponseWriter, r *http.Request, rec *session.Record, token string, err error, next string) {
	app, appErr := h.backend.logout(ctx, r, rec, token)
	if appErr != nil {
		telemetry.RequestFrom(r.Context()).Error = appErr.Error()
		h.deps.Log.Warn().Err(appErr).Str("id", telemetry.RequestFrom(r.Context()).ID).
			Msg("the application was not logged out of; the gateway's session has ended")
	}
	for _, line := range app.SetCookie {
		w.Header().Add("Set-Cookie", line)
	}
	h.forget(w)
	if err != nil {
		telemetry.RequestFrom(r.Context()).Error = err.Error()
		h.deps.Pages.Problem(w, r, unconfirmed)
		return
	}
	h.goodbye(w, r, next, app.Location)
}

// forget makes the browser forget the session and the pages that were shown in it (S13).
//
// Clear-Site-Data empties what is stored, but in Chromium not the page whose button was pressed: that one
// is put aside for Back only when the next page comes. Chromium drops it for being no-store once a cookie
// has been set since; a cookie that is deleted does not count. So ours is set to nothing, then deleted.
func (h *Handler) forget(w http.ResponseWriter) {
	http.SetCookie(w, h.deps.Cookies.Set("", time.Second))
	http.SetCookie(w, h.deps.Cookies.Clear())
	h.forgetApp(w)
	w.Header().Set("Clear-Site-Data", `"cache"`)
}

// forgetApp makes the browser forget the application's own session cookie, whose session has ended with
// the other. Where the application goes on getting its cookie, that is its own business.
func (h *Handler) forgetApp(w http.ResponseWriter) {
	if !h.deps.AppCookie.Forward() {
		http.SetCookie(w, h.deps.AppCookie.Clear())
	}
}

// logoutNext reads where the form wants to go on to. A body of another type is the application's own
// business: its logout may take JSON.
func logoutNext(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := readBody(w, r)
	if err != nil || !isForm(r) {
		return "", err
	}
	form, err := parseFields(body, fieldNext)
	return form.Get(fieldNext), err
}

// endBoth ends the session of the gateway's cookie and, while sessions move, that of the application's: they may
// be two, and who logs out is logged out of both.
func (h *Handler) endBoth(ctx context.Context, r *http.Request, token string) (*session.Record, error) {
	rec, err := h.end(ctx, r, token)
	app, ok := h.deps.AppCookie.Read(r.Header)
	if !ok {
		return rec, err
	}
	var limit *LimitError
	if errors.As(err, &limit) {
		return nil, err
	}
	appRec, appErr := h.endApp(ctx, r, app, rec != nil)
	if rec == nil {
		rec = appRec
	}
	return rec, errors.Join(err, appErr)
}

// endApp revokes the session of the application's cookie. known: who asks has just been logged out by the gateway's.
// Errors as those of end.
func (h *Handler) endApp(ctx context.Context, r *http.Request, app session.AppToken, known bool) (*session.Record, error) {
	s, err := h.deps.Sessions.FindApp(ctx, app)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		if err := h.allowAddress(r); err != nil {
			return nil, err
		}
		err = h.deps.Sessions.Revoke(ctx, app.Key(), "")
		h.auditLogout(r, app.Key(), "", err)
		return nil, err
	case err != nil:
		// It has just ended with the gateway's, or long ago. Its row goes as well, so that the application, if it
		// goes on using its sessions, does not know the person any more either.
		if !known && h.allowAddress(r) != nil {
			return nil, nil // anybody can make up cookies, and each costs the database a question
		}
		return nil, h.deps.Sessions.Revoke(ctx, app.Key(), "")
	}
	err = h.deps.Sessions.Revoke(ctx, s.Key(), s.User.ID)
	h.auditLogout(r, s.Key(), s.User.ID, err)
	if s.Key().Row == "" { // it has come over; the row is only the application's now
		err = errors.Join(err, h.deps.Sessions.Revoke(ctx, app.Key(), s.User.ID))
	}
	return s.Record, err
}

// end revokes the session of a token. Errors: session.ErrUnconfirmed, in which case this replica
// refuses the session all the same; *LimitError, in which case nothing has happened.
func (h *Handler) end(ctx context.Context, r *http.Request, token string) (*session.Record, error) {
	key, ok := session.ParseToken(token)
	if !ok {
		return nil, nil
	}
	s, err := h.deps.Sessions.Find(ctx, token)
	if errors.Is(err, session.ErrNotFound) {
		return nil, nil
	}
	// With Redis away and a session this replica has not seen, the token still tells which session must
	// end, if not whose.
	var rec *session.Record
	userID := ""
	if err == nil {
		rec, userID = s.Record, s.User.ID
	} else if err := h.allowAddress(r); err != nil {
		// Anybody can make up tokens, and each is kept until Redis is back: without a limit they would
		// leave no room for real ones.
		return nil, err
	}
	err = h.deps.Sessions.Revoke(ctx, key, userID)
	h.auditLogout(r, key, userID, err)
	return rec, err
}

func (h *Handler) auditLogout(r *http.Request, key session.Key, userID string, err error) {
	facts := telemetry.RequestFrom(r.Context())
	facts.UserID, facts.Session = userID, key.ID.Short()
	reason := ""
	if err != nil {
		reason = "unconfirmed"
	}
	telemetry.LogAudit(&h.deps.Log, telemetry.Audit{
		Event: telemetry.EventLogout, RequestID: facts.ID, Client: clientText(facts),
		UserID: userID, Session: key.ID.Short(), Backend: h.backend.name(), Reason: reason,
	})
}

// goodbye sends a person on.
func (h *Handler) goodbye(w http.ResponseWriter, r *http.Request, nexts ...string) {
	location := "/"
	for _, next := range nexts {
		// The application often points to its login page: after a logout that is no circle.
		if safe, ok := SafeNext(next, "", h.cfg.LogoutPath); ok {
			location = safe
			break
		}
	}
	if pages.WantsJSON(r) {
		h.writeJSON(w, r, struct {
			Next string `json:"next"`
		}{location})
		return
	}
	seeOther(w, location)
}

// unconfirmed is the answer to a logout that Redis has not heard of yet.
var unconfirmed = pages.Problem{
	Status: http.StatusServiceUnavailable, Code: pages.CodeLogoutUnconfirmed, RetryAfter: retryUnavailable,
	Message: "You are logged out here, but this is not confirmed everywhere yet. It is tried again until it is. Close the browser if others use it.",
}

// refuseLogout answers a request that is no logout. It counts as none of the logins.
func (h *Handler) refuseLogout(w http.ResponseWriter, r *http.Request, err error) {
	o := judge(err)
	telemetry.RequestFrom(r.Context()).Error = fmt.Sprintf("logout: %s", o.reason)
	h.deps.Pages.Problem(w, r, o.problem(""))
}
