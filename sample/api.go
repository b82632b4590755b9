package sample

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxDownload bounds /download and maxSlow the wait of /slow: this is a demonstration.
const (
	maxDownload = 4 << 30
	maxSlow     = time.Minute
)

// me tells who the application's own cookie belongs to. The gateway asks it right after a login
// through the application's form (identity: from: whoami).
func (a *app) me(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	s := a.sessions.find(r)
	if s == nil || s.user == nil {
		writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "not logged in"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"id": s.user.ID, "email": s.user.Email, "name": s.user.Name, "role": s.user.Role})
}

func (a *app) time(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"time": a.opts.Clock().UTC().Format(time.RFC3339Nano)})
}

// upload counts what it is sent, without keeping it.
func (a *app) upload(w http.ResponseWriter, r *http.Request) {
	n, err := io.Copy(io.Discard, r.Body)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]any{"bytes": n, "error": err.Error()})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"bytes": n})
}

// download streams ?bytes=N of text.
func (a *app) download(w http.ResponseWriter, r *http.Request) {
	left, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || left < 0 || left > maxDownload {
		a.problem(w, r, http.StatusBadRequest, "Say how many bytes: /download?bytes=1000000")
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.FormatInt(left, 10))
	chunk := make([]byte, 32<<10)
	for i := range chunk {
		chunk[i] = "0123456789abcdef"[i%16]
	}
	for left > 0 {
		n, err := w.Write(chunk[:min(left, int64(len(chunk)))])
		if err != nil {
			return
		}
		left -= int64(n)
	}
}

// slow answers after ?ms=N milliseconds.
func (a *app) slow(w http.ResponseWriter, r *http.Request) {
	ms, err := strconv.Atoi(r.URL.Query().Get("ms"))
	wait := time.Duration(ms) * time.Millisecond
	if err != nil || wait < 0 || wait > maxSlow {
		a.problem(w, r, http.StatusBadRequest, "Say how long: /slow?ms=500, at most 60000.")
		return
	}
	select {
	case <-time.After(wait):
		writeJSON(w, http.StatusOK, map[string]int{"waited_ms": ms})
	case <-r.Context().Done():
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone, nobody is left to tell
}
