package admin

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// handler answers below /api/, always in JSON.
func (a *api) handler() http.Handler {
	endpoints := a.endpoints()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := a.Clock()
		facts := &telemetry.Request{ID: rand.Text(), Client: clientOf(r)}
		resp := &response{ResponseWriter: w, path: "(no path of the API)"}
		defer func() { a.record(resp, r, facts, a.Clock().Sub(began)) }()
		r = r.WithContext(telemetry.WithRequest(r.Context(), facts))
		for _, e := range endpoints {
			if e.matches(r) {
				a.serve(resp, r, e)
				return
			}
		}
		fail(resp, r, notFoundPath)
	})
}

// matches compares the path segment by segment, as it was sent, and takes the parameters out of it. http.ServeMux will not do: it
// answers a path that is not clean by a redirect to another one, which may be another user's, and has no place for a user
// whose ID is a slash.
func (e endpoint) matches(r *http.Request) bool {
	escaped := r.URL.EscapedPath()
	got, want := strings.Split(escaped, "/"), strings.Split(prefix+e.path, "/")
	if path.Clean(escaped) != escaped || len(got) != len(want) {
		return false
	}
	for i, segment := range want {
		name, parameter := strings.CutPrefix(segment, "{")
		if !parameter {
			if got[i] != segment {
				return false
			}
			continue
		}
		value, err := url.PathUnescape(got[i])
		if err != nil {
			return false
		}
		r.SetPathValue(strings.TrimSuffix(name, "}"), value)
	}
	return true
}

// record writes the access line: who reads sessions can be seen afterwards. It names the endpoint and not the path, in which
// people put a token in place of the session's ID.
func (a *api) record(w *response, r *http.Request, facts *telemetry.Request, took time.Duration) {
	access := telemetry.Access{
		ID: facts.ID, Method: r.Method, Path: w.path, Status: w.status, Bytes: w.bytes, Duration: took,
		UserID: facts.UserID, Session: facts.Session, Rule: "admin", Error: facts.Error,
	}
	if facts.Client.IsValid() {
		access.Client = facts.Client.String()
	}
	telemetry.LogAccess(&a.Log, access)
}

// serve judges the request and answers it.
func (a *api) serve(w *response, r *http.Request, e endpoint) {
	w.path = prefix + e.path
	op, ok := e.methods[r.Method]
	switch {
	case !ok:
		w.Header().Set("Allow", strings.Join(slices.Sorted(maps.Keys(e.methods)), ", "))
		fail(w, r, &problem{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "This method is not answered here; see the Allow header."})
		return
	case !a.open && !op.public:
		fail(w, r, errClosed)
		return
	}
	err := checkQuery(r, op.query)
	if err == nil {
		err = checkUser(r)
	}
	if err == nil && !op.body {
		err = drain(r)
	}
	if err == nil {
		err = op.answer(w, r)
	}
	if err != nil {
		fail(w, r, err)
	}
}

// checkQuery refuses parameters that are not known, and queries that cannot be read: r.URL.Query would drop what is wrong in them.
func checkQuery(r *http.Request, known []string) error {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return badRequest("The query cannot be read: percent-encode what stands in it.")
	}
	for name := range values {
		if !slices.Contains(known, name) {
			return badRequest(fmt.Sprintf("The query parameter %.40q is not known here.", name))
		}
	}
	return nil
}

// checkUser refuses a user ID that no user has, before any store is asked.
func checkUser(r *http.Request) error {
	user := r.PathValue("userID")
	if !utf8.ValidString(user) {
		return session.ErrInvalidUser
	}
	telemetry.RequestFrom(r.Context()).UserID = user
	return nil
}

// reply answers with what f gives, as JSON.
func reply(f func(r *http.Request) (any, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		v, err := f(r)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusOK, v)
	}
}

// writeJSON encodes first and writes then: what cannot be encoded is an error, not half an answer.
func writeJSON(w http.ResponseWriter, status int, v any) error {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(v); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body.Bytes()) // who asked has gone: nobody to tell
	return nil
}

// fail answers with an error. It is the only place where one becomes an answer.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	p := problemOf(err)
	if p.cause != nil {
		telemetry.RequestFrom(r.Context()).Error = p.cause.Error()
	}
	if p.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", retryAfter)
	}
	var shown struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"error"`
	}
	shown.Error.Code, shown.Error.Message = p.code, p.message
	if writeJSON(w, p.status, shown) != nil {
		panic(errors.New("two texts cannot be encoded"))
	}
}

// response notes what was answered.
type response struct {
	http.ResponseWriter
	path   string // of the endpoint, for the log
	status int
	bytes  int64
}

// WriteHeader notes the status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts what goes out.
func (w *response) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController through.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }
