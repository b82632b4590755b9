package admin

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// maxExcept bounds the sessions one request spares.
const maxExcept = 100

// list answers GET /users/{userID}/sessions. A user nobody knows has none: which users there are is the login backend's to say.
func (a *api) list(r *http.Request) (any, error) {
	records, err := a.Sessions.List(r.Context(), r.PathValue("userID"))
	if err != nil {
		return nil, err
	}
	views := make([]session.View, 0, len(records))
	for _, rec := range records {
		views = append(views, rec.View())
	}
	return struct {
		Sessions []session.View `json:"sessions"`
	}{views}, nil
}

// show answers GET for one session, of one user or of any.
func (a *api) show(r *http.Request) (any, error) {
	rec, err := a.find(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return rec.View(), nil
}

// find gives the session an ID, or the beginning of one, stands for.
func (a *api) find(r *http.Request, id string) (*session.Record, error) {
	if !session.IsBeginning(id) {
		// Not repeated: it may be a token.
		return nil, badRequest(fmt.Sprintf("This is no session ID, nor at least the first %d characters of one.", session.MinBeginning))
	}
	rec, err := a.lookUp(r.Context(), id, r.PathValue("userID"))
	if err == nil {
		facts := telemetry.RequestFrom(r.Context())
		facts.UserID, facts.Session = rec.User.ID, rec.ID.Short()
	}
	return rec, err
}

// lookUp is Show. Whose session it is, nobody has said: then all are gone through.
func (a *api) lookUp(ctx context.Context, id, userID string) (rec *session.Record, err error) {
	if userID != "" {
		return a.Sessions.Show(ctx, id, userID)
	}
	err = a.scanning(func() error { rec, err = a.Sessions.Show(ctx, id, ""); return err })
	return rec, err
}

type ended struct {
	Ended int `json:"ended"`
}

// lasting is a context that goes on when the client goes away: what was asked for is done.
func lasting(r *http.Request) context.Context { return context.WithoutCancel(r.Context()) }

// revoke answers DELETE for one session.
func (a *api) revoke(r *http.Request) (any, error) {
	rec, err := a.find(r, r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	if err := a.Sessions.Revoke(lasting(r), rec); err != nil {
		return nil, err
	}
	return ended{1}, nil
}

// revokeUser answers DELETE /users/{userID}/sessions. A beginning must be that of a session: with one that is
// mistyped nothing ends. A whole ID is copied: its session has ended, and the others are to end all the same.
func (a *api) revokeUser(r *http.Request) (any, error) {
	spare := r.URL.Query()["except"]
	if len(spare) > maxExcept {
		return nil, badRequest(fmt.Sprintf("At most %d sessions can be spared.", maxExcept))
	}
	var except []session.ID
	for _, id := range spare {
		rec, err := a.find(r, id)
		if _, whole := session.ParseID(id); whole && errors.Is(err, session.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		except = append(except, rec.ID)
	}
	n, err := a.Sessions.RevokeUser(lasting(r), r.PathValue("userID"), except...)
	if err != nil {
		return nil, err
	}
	return ended{n}, nil
}

// change answers PATCH /users/{userID}/sessions.
func (a *api) change(w http.ResponseWriter, r *http.Request) error {
	c, err := readChange(w, r)
	if err != nil {
		return err
	}
	n, err := a.Changes.Change(lasting(r), r.PathValue("userID"), c)
	if err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, struct {
		Changed int `json:"changed"`
	}{n})
}
