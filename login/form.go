package login

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
)

// maxForm bounds the body of a login or logout, in bytes (L06).
const maxForm = 64 << 10

var errLargeForm = &RequestError{http.StatusRequestEntityTooLarge, "the form is larger than 64 KB"}

// readBody reads a form's body and puts it back, for a backend that sends it on.
// Error: *RequestError (400, 413).
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	// A client that waits to be told to go on (Expect: 100-continue) is, by the first read: who is refused anyway is not
	// asked for the body (X13).
	if r.ContentLength > maxForm {
		return nil, errLargeForm
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxForm))
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return nil, errLargeForm
	case err != nil:
		return nil, &RequestError{http.StatusBadRequest, "the form did not arrive whole"}
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return body, nil
}

// isForm reports whether a body is urlencoded.
func isForm(r *http.Request) bool {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && kind == "application/x-www-form-urlencoded" && len(r.Header["Content-Type"]) == 1
}

// parseFields reads an urlencoded body, of which each of the single fields may be there once. Nothing
// is read from the query: it stands in logs and histories, and a link could carry it (L06).
// Error: *RequestError (400).
func parseFields(body []byte, single ...string) (url.Values, error) {
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, &RequestError{http.StatusBadRequest, "the form is not encoded correctly"}
	}
	for _, name := range single {
		// Of two, what stands before us could have looked at the one and we at the other.
		if len(form[name]) > 1 {
			return nil, &RequestError{http.StatusBadRequest, "the field " + name + " is there twice"}
		}
	}
	return form, nil
}

// methods refuses all methods but these, with an Allow header. Error: *RequestError (405).
func methods(w http.ResponseWriter, r *http.Request, allowed string, names ...string) error {
	if slices.Contains(names, r.Method) {
		return nil
	}
	w.Header().Set("Allow", allowed)
	return &RequestError{http.StatusMethodNotAllowed, "only " + allowed + " are answered here"}
}
