package pages

import (
	"bytes"
	"net/http"
	"strconv"

	"gatehouse/telemetry"
)

// challenge is the WWW-Authenticate of every 401, which RFC 9110 section 15.5.2 demands. The scheme
// is none a browser knows, so no browser opens its own password window; a program learns from it
// that a session is missing, and where to log in stands in the JSON.
const challenge = `Session realm="gatehouse"`

// write renders into a buffer first, so that a template that fails half-way leaves no half page
// with a good status behind.
func (p *Pages) write(w http.ResponseWriter, r *http.Request, status int, pg page, data any) {
	var out bytes.Buffer
	if err := pg.template.Execute(&out, data); err != nil {
		// Only a replaced template can get here, with data its trial execution did not have.
		telemetry.RequestFrom(r.Context()).Error = "pages: " + err.Error()
		plain := http.StatusText(status) + "\n"
		send(w, r, status, "text/plain; charset=utf-8", policy(nil), []byte(plain))
		return
	}
	send(w, r, status, "text/html; charset=utf-8", pg.policy, out.Bytes())
}

// send writes one of the gateway's own answers.
func send(w http.ResponseWriter, r *http.Request, status int, contentType, csp string, body []byte) {
	h := w.Header()
	forgetBody(h)
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	// The pages tell who is logged in, and 401 must not outlive the login (S13).
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", csp)
	h.Set("X-Content-Type-Options", "nosniff")
	// For browsers that do not know frame-ancestors.
	h.Set("X-Frame-Options", "DENY")
	// Not no-referrer: it would make the Origin of the form's own POST "null", which L01 refuses.
	h.Set("Referrer-Policy", "same-origin")
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", challenge)
	}
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that has gone away is no error of ours
	}
}

// forgetBody deletes what whoever began to answer before has left: it describes another body.
func forgetBody(h http.Header) {
	for _, name := range []string{"Content-Encoding", "Content-Range", "Accept-Ranges", "Etag", "Last-Modified", "Trailer", "Transfer-Encoding"} {
		h.Del(name)
	}
}
