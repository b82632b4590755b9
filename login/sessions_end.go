package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"

	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// order is what a POST to the page of sessions asks for.
type order struct {
	action string
	// id of ActionEnd. What is no ID at all is the zero one, which no session has.
	id session.ID
}

// What is in the address after a POST, and what the page then says.
const (
	doneOne    = "one"
	doneOthers = "others"
)

var outcomes = map[string]string{
	doneOne:    "That session has ended.",
	doneOthers: "All your other sessions have ended.",
}

// unknownSession is the one answer for another person's session, for one that has ended, and for none at all:
// the IDs of others' sessions cannot be tried out.
const unknownSession = "You have no such session. It may have ended already."

// unconfirmedEnd is the answer when the caller stays logged in and Redis has not heard of what was ended.
var unconfirmedEnd = pages.Problem{
	Status: http.StatusServiceUnavailable, Code: pages.CodeEndUnconfirmed, RetryAfter: retryUnavailable,
	Message: "What you ended is refused here already, but this is not confirmed everywhere yet. It is tried again until it is. You are still logged in.",
}

// readOrder checks where the POST comes from, then reads it: a form, or JSON with the same fields.
// Errors: ErrCrossSite, *RequestError.
func (h *Handler) readOrder(w http.ResponseWriter, r *http.Request) (order, error) {
	if err := h.sameOrigin(r); err != nil {
		return order{}, err
	}
	body, err := readBody(w, r)
	if err != nil {
		return order{}, err
	}
	var action, id string
	switch {
	case isForm(r):
		var form url.Values
		if form, err = parseFields(body, pages.FieldAction, pages.FieldID); err != nil {
			return order{}, err
		}
		action, id = form.Get(pages.FieldAction), form.Get(pages.FieldID)
	case len(r.Header["Content-Type"]) == 1 && isJSON(r.Header.Get("Content-Type")):
		if action, id, err = orderFields(body); err != nil {
			return order{}, err
		}
	default:
		return order{}, &RequestError{http.StatusUnsupportedMediaType, "send application/x-www-form-urlencoded or application/json"}
	}
	return newOrder(action, id)
}

func orderFields(body []byte) (action, id string, err error) {
	object, err := parseObject(body)
	if err != nil {
		return "", "", &RequestError{http.StatusBadRequest, "the JSON is no object, or a key stands twice in it"}
	}
	for name, to := range map[string]*string{pages.FieldAction: &action, pages.FieldID: &id} {
		value, there := object[name]
		text, ok := value.(string)
		if there && !ok {
			return "", "", &RequestError{http.StatusBadRequest, "the member " + name + " is no string"}
		}
		*to = text
	}
	return action, id, nil
}

func newOrder(action, id string) (order, error) {
	o := order{action: action}
	switch action {
	case pages.ActionEndOthers, pages.ActionEndAll:
	case pages.ActionEnd:
		if id == "" {
			return order{}, &RequestError{http.StatusBadRequest, "the field id is missing"}
		}
		o.id, _ = session.ParseID(id)
	default:
		return order{}, &RequestError{http.StatusBadRequest, "the field action is none of end, end_others and end_all"}
	}
	return o, nil
}

// obey does what a POST asks for. Who presses the button and closes the window has pressed it.
func (h *Handler) obey(w http.ResponseWriter, r *http.Request, c *caller, o order) {
	ctx := context.WithoutCancel(r.Context())
	if o.action == pages.ActionEnd {
		if o.id == c.ID {
			h.Logout(w, h.asLogout(r))
		} else {
			h.endOne(ctx, w, r, c, o.id)
		}
		return
	}
	// While Redis is away each of these is kept until it is back, however often it was asked for: without a limit
	// one person's would leave no room for those of others. A session can be ended only once.
	var limit *LimitError
	if errors.As(h.allowUser("sessions of "+c.User.ID), &limit) {
		h.noteLimit(r, limit)
		telemetry.RequestFrom(r.Context()).Error = "sessions: over the limit of the " + limit.Limit
		h.deps.Pages.Problem(w, r, pages.Problem{Status: http.StatusTooManyRequests, RetryAfter: limit.RetryAfter})
		return
	}
	switch o.action {
	case pages.ActionEndOthers:
		h.endOthers(ctx, w, r, c)
	default:
		h.endAll(ctx, w, r, c)
	}
}

// endOne ends another session of the caller's. They are listed for every ID: an answer that comes sooner would
// tell what the ID is.
func (h *Handler) endOne(ctx context.Context, w http.ResponseWriter, r *http.Request, c *caller, id session.ID) {
	own, err := h.ownSessions(ctx, c)
	if err != nil {
		h.cannotTell(w, r, err)
		return
	}
	i := slices.IndexFunc(own, func(rec *session.Record) bool { return rec.ID == id })
	if i < 0 {
		c.keep(w)
		telemetry.RequestFrom(r.Context()).Error = "sessions: no such session of the user"
		if pages.WantsJSON(r) {
			h.deps.Pages.JSON(w, r, pages.Problem{Status: http.StatusNotFound, Message: unknownSession})
			return
		}
		h.showSessions(w, r, http.StatusNotFound, c, own, unknownSession)
		return
	}
	err = h.deps.Sessions.Revoke(ctx, own[i].Key(), c.User.ID)
	h.auditEnd(r, c, id, err)
	h.ended(w, r, c, 1, doneOne, err)
}

// endOthers ends all sessions of the caller but this one.
func (h *Handler) endOthers(ctx context.Context, w http.ResponseWriter, r *http.Request, c *caller) {
	except := []session.ID{c.ID}
	// While sessions move, the row this session came from is still the application's own. It is the browser's
	// own cookie that names it, so it is no other session.
	if app, ok := h.deps.AppCookie.Read(r.Header); ok && app.Key().ID != c.ID {
		if s, err := h.deps.Sessions.FindApp(ctx, app); err == nil && s.ID == c.ID {
			except = append(except, app.Key().ID)
		}
	}
	n, err := h.deps.Sessions.RevokeUser(ctx, c.User.ID, except...) // which writes the audit line
	h.ended(w, r, c, n, doneOthers, err)
}

// ended answers when the caller stays logged in. A redirect, so that reloading the page ends nothing again.
func (h *Handler) ended(w http.ResponseWriter, r *http.Request, c *caller, n int, done string, err error) {
	c.keep(w)
	switch {
	case err != nil:
		telemetry.RequestFrom(r.Context()).Error = "sessions: " + err.Error()
		h.deps.Pages.Problem(w, r, unconfirmedEnd)
	case pages.WantsJSON(r):
		h.writeJSON(w, r, map[string]int{"ended": n})
	default:
		seeOther(w, sessionsPath+"?"+url.Values{"done": {done}}.Encode())
	}
}

// endAll ends all sessions of the caller in one step, and logs out here: of the application too, and of the
// session its own cookie names.
func (h *Handler) endAll(ctx context.Context, w http.ResponseWriter, r *http.Request, c *caller) {
	_, err := h.deps.Sessions.RevokeUser(ctx, c.User.ID)
	h.auditLogout(r, c.Key(), c.User.ID, err)
	if app, ok := h.deps.AppCookie.Read(r.Header); ok {
		_, appErr := h.endApp(ctx, r, app, true)
		err = errors.Join(err, appErr)
	}
	if err != nil {
		err = fmt.Errorf("sessions: %w", err)
	}
	h.leave(ctx, w, h.asLogout(r), c.Record, c.token, err, "")
}

// asLogout is the request as the logout page's button would have sent it: what stands in this one's body is
// nothing to the application.
func (h *Handler) asLogout(r *http.Request) *http.Request {
	out := r.Clone(r.Context())
	path, err := url.PathUnescape(h.cfg.LogoutPath)
	if err != nil {
		path = h.cfg.LogoutPath
	}
	out.URL, out.RequestURI = &url.URL{Path: path, RawPath: h.cfg.LogoutPath}, h.cfg.LogoutPath
	out.Body, out.ContentLength = http.NoBody, 0
	out.Header.Del("Content-Type")
	out.Header.Del("Content-Length")
	return out
}

// auditEnd writes the audit line of a session that was ended from another one.
func (h *Handler) auditEnd(r *http.Request, c *caller, id session.ID, err error) {
	facts := telemetry.RequestFrom(r.Context())
	reason := "by_user"
	if err != nil {
		reason = "unconfirmed"
	}
	telemetry.LogAudit(&h.deps.Log, telemetry.Audit{Event: telemetry.EventRevoke, RequestID: facts.ID, Client: clientText(facts),
		UserID: c.User.ID, Session: id.Short(), Backend: h.backend.name(), Reason: reason})
}
