package login

import (
	"encoding/json"
	"net/http"
	"strconv"

	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// welcome answers a login that worked: 303 for people, for programs 200 with
// {"userId": …, "next": "/…"}, userId being a number where the session's record has one.
func (b *formBackend) welcome(w http.ResponseWriter, r *http.Request, rec *session.Record, next string) {
	location, ok := SafeNext(next, b.h.cfg.Path, b.h.cfg.LogoutPath)
	if !ok {
		location = "/"
	}
	if pages.WantsJSON(r) {
		b.h.writeJSON(w, r, struct {
			UserID any    `json:"userId"`
			Next   string `json:"next"`
		}{jsonID(rec.User.ID), location})
		return
	}
	seeOther(w, location)
}

// jsonID is a user ID as it stands in JSON: a number when it is a canonical integer below 2^53, else
// text (design: Sessions).
func jsonID(id string) any {
	if n, err := strconv.ParseUint(id, 10, 53); err == nil && strconv.FormatUint(n, 10) == id {
		return n
	}
	return id
}

// seeOther sends a browser on. location has been judged; http.Redirect would rewrite it.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.Header().Set("Content-Length", "0")
	w.WriteHeader(http.StatusSeeOther)
}

// writeJSON answers a program with 200.
func (h *Handler) writeJSON(w http.ResponseWriter, r *http.Request, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		telemetry.RequestFrom(r.Context()).Error = err.Error()
		h.deps.Pages.JSON(w, r, pages.Problem{Status: http.StatusInternalServerError})
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(append(body, '\n')) // a client that has gone away is no error of ours
}
