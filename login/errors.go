package login

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"gatehouse/database"
	"gatehouse/pages"
	"gatehouse/session"
)

// Why a login comes to nothing, besides the errors of package session.
var (
	// ErrBadCredentials: unknown account, wrong password or disabled account; nobody is told which.
	ErrBadCredentials = errors.New("login: bad credentials")
	// ErrCrossSite: another site made the browser send this.
	ErrCrossSite = errors.New("login: cross-site request")
	// ErrBusy: as many passwords are being hashed as may be at once.
	ErrBusy = errors.New("login: too many passwords are being checked")
	// ErrApp: the application said yes, but not who it is (backend app).
	ErrApp = errors.New("login: the application's answer is not understood")
	// errAccounts: the database answered, but not with an account (backend database).
	errAccounts = errors.New("login: the account cannot be looked up")
	// errHalfway: the application said yes, and then the gateway could not (backend app).
	errHalfway = errors.New("login: the application said yes, but the session could not be made")
)

// refusal is ErrBadCredentials with its reason, which is for operators alone.
type refusal struct{ reason string }

// Error is the reason.
func (r refusal) Error() string { return "login: " + r.reason }

// Is makes it ErrBadCredentials: whatever the reason, people get one answer.
func (r refusal) Is(target error) bool { return target == ErrBadCredentials }

// The reasons of a refusal, as they stand in the audit line.
const (
	reasonBadCredentials = "bad_credentials" // unknown account or wrong password
	reasonLimited        = "account"         // over the limit of the account, by another of its names
	reasonDisabled       = "disabled"
	reasonLocked         = "locked"
	reasonUnverified     = "unverified"
	reasonNoPassword     = "no_password"
	reasonUnreadable     = "unreadable"
	reasonAmbiguous      = "ambiguous"
)

// LimitError is an attempt over a rate limit.
type LimitError struct {
	// Limit is address or account.
	Limit string
	// RetryAfter is when the next attempt is allowed.
	RetryAfter time.Duration
}

// Error names the limit.
func (e *LimitError) Error() string { return "login: over the limit of the " + e.Limit }

// RequestError is a request that is no login: it breaks the form's rules.
type RequestError struct {
	// Status is 400, 405, 413 or 415.
	Status int
	// Reason is for the client and the log; it repeats nothing that was sent.
	Reason string
}

// Error is the reason.
func (e *RequestError) Error() string { return fmt.Sprintf("login: %s", e.Reason) }

// outcomeSuccess is the metric's word for a login that worked; judge has the others.
const outcomeSuccess = "success"

// outcome is what an error becomes: for the client, the metric and the audit line.
type outcome struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
	metric     string // outcome of gatehouse_logins_total
	limit      string // limit of gatehouse_limited_total, if it is one
	reason     string // for the audit line
}

// failedMessage is the one sentence for every login that failed (L04).
const failedMessage = "Logging in did not work. Check the email and the password, and try again."

// judge is the one place where a login's error becomes an answer.
func judge(err error) outcome {
	var limit *LimitError
	var request *RequestError
	why := refusal{reasonBadCredentials}
	errors.As(err, &why)
	switch {
	case errors.Is(err, ErrBadCredentials):
		return outcome{status: http.StatusUnauthorized, code: "bad_credentials", message: failedMessage,
			metric: "bad_credentials", reason: why.reason}
	case errors.Is(err, session.ErrSuperseded):
		return outcome{status: http.StatusUnauthorized, code: "bad_credentials", message: failedMessage,
			metric: "superseded", reason: "superseded"}
	case errors.As(err, &limit):
		return outcome{status: http.StatusTooManyRequests, code: "limited", retryAfter: limit.RetryAfter,
			message: "There were too many attempts to log in. Wait a moment, then try again.",
			metric:  "limited", limit: limit.Limit, reason: limit.Limit}
	case errors.As(err, &request):
		return outcome{status: request.Status, code: "bad_request", metric: "bad_request", reason: request.Reason,
			message: "This request cannot be understood: " + request.Reason + "."}
	case errors.Is(err, ErrCrossSite):
		return outcome{status: http.StatusForbidden, code: "cross_site", metric: "cross_site", reason: "cross_site",
			message: "This form was sent from another site. Open the page here and send it again."}
	case errors.Is(err, ErrBusy):
		return outcome{status: http.StatusServiceUnavailable, code: "busy", retryAfter: time.Second,
			message: "Many people are logging in right now. Try again in a moment.",
			metric:  "busy", limit: "hashes", reason: "hashes"}
	case errors.Is(err, session.ErrLimit):
		return outcome{status: http.StatusConflict, code: "too_many_sessions", metric: "too_many_sessions", reason: "too_many_sessions",
			message: "You are logged in in too many places. Log out in one of them, then try again."}
	case errors.Is(err, session.ErrUnavailable), errors.Is(err, database.ErrUnavailable), errors.Is(err, errAccounts):
		return outcome{status: http.StatusServiceUnavailable, code: "unavailable", retryAfter: retryUnavailable,
			message: "Logging in is not possible at the moment. Try again in a few seconds.",
			metric:  "unavailable", reason: "unavailable"}
	default:
		status := http.StatusInternalServerError
		if errors.Is(err, ErrApp) || errors.Is(err, errHalfway) {
			status = http.StatusBadGateway
		}
		return outcome{status: status, code: "app_failed", metric: "app_failed", reason: "app_failed",
			message: "Logging in failed because of an error on our side. Try again; if it stays so, tell whoever runs this site."}
	}
}

// problem is the outcome as a page.
func (o outcome) problem(loginURL string) pages.Problem {
	return pages.Problem{Status: o.status, Code: o.code, Message: o.message, RetryAfter: o.retryAfter, LoginURL: loginURL}
}
