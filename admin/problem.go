package admin

import (
	"errors"
	"net/http"

	"gatehouse/session"
)

// retryAfter is what a 503 asks for, in seconds. Redis is found again within a second of its return.
const retryAfter = "5"

// problem is an error as it is answered. cause is for the log alone.
type problem struct {
	status        int
	code, message string
	cause         error
}

// Error is the message.
func (p *problem) Error() string { return p.message }

var (
	notFoundPath = &problem{status: http.StatusNotFound, code: "not_found", message: "There is nothing at this path; /api/v1/openapi.yaml says what there is."}
	errClosed    = &problem{status: http.StatusForbidden, code: "token_required", message: "The session API is closed as long as the admin listener has no token: set admin.token_file to a file that holds one, and start the gateway again."}
	errBusy      = &problem{status: http.StatusServiceUnavailable, code: "busy", message: "Another request is going through all sessions right now; try again later."}
)

func badRequest(message string) *problem {
	return &problem{status: http.StatusBadRequest, code: "bad_request", message: message}
}

// problemOf turns an error into its answer.
func problemOf(err error) *problem {
	var p *problem
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrCorrupt):
		return &problem{http.StatusNotFound, "not_found", "There is no such session.", nil}
	case errors.Is(err, session.ErrAmbiguous):
		return &problem{http.StatusConflict, "ambiguous", "More than one session's ID begins like this: give more of it.", nil}
	case errors.Is(err, session.ErrConflict):
		return &problem{http.StatusConflict, "conflict", "A session was changed by others all the time. Some sessions may be changed, others not; the same request again goes on.", err}
	case errors.Is(err, session.ErrInvalidUser):
		return &problem{http.StatusBadRequest, "invalid_user", "The user ID is empty or not UTF-8.", nil}
	case errors.Is(err, session.ErrInvalidChange):
		return &problem{http.StatusBadRequest, "invalid_change", "Nothing was changed: " + err.Error() + ".", nil}
	case errors.Is(err, session.ErrTooLarge):
		return &problem{http.StatusBadRequest, "too_large", "Nothing was changed: a session's record would become too large with these values.", nil}
	case errors.Is(err, session.ErrUnconfirmed):
		return &problem{http.StatusServiceUnavailable, "unconfirmed",
			"This gateway refuses the sessions from now on. The store could not be told yet, so other gateways may not; that is retried until the store confirms it.", err}
	case errors.Is(err, session.ErrUnavailable):
		return &problem{http.StatusServiceUnavailable, "unavailable", "The session store cannot be asked now.", err}
	}
	return &problem{http.StatusInternalServerError, "internal", "Something went wrong in the gateway; its log has the cause.", err}
}

// tokenHint is said to whoever comes without the right token.
const tokenHint = "This listener needs its token: Authorization: Bearer TOKEN (admin.token_file)."
