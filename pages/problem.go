package pages

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"gatehouse/telemetry"
)

// Problem is an answer that is not what was asked for.
type Problem struct {
	// Status is the HTTP status.
	Status int
	// Code is one word for programs, such as "unauthenticated" or "bad_gateway". Default by status.
	Code string
	// Message is one sentence for people: what happened and what to do. Never an internal cause: that
	// belongs into the log, where the request's id leads to it. Default by status.
	Message string
	// RetryAfter becomes the header of that name, in seconds rounded up. 0: none.
	RetryAfter time.Duration
	// LoginURL is where to log in, when that helps. Empty: no link.
	LoginURL string
}

// CodeLogoutUnconfirmed is the Code of a logout that Redis has not heard of yet. It has a heading of its
// own, and its page asks nobody to try again: the gateway does that.
const CodeLogoutUnconfirmed = "logout_unconfirmed"

// CodeEndUnconfirmed is the same for sessions that were ended from another one, which goes on.
const CodeEndUnconfirmed = "end_unconfirmed"

// CodeTooManyRequests is the Code of a request that request_limits refuses, which is no attempt at anything.
const CodeTooManyRequests = "too_many_requests"

// kind is what a status says when nobody says it better.
type kind struct{ code, heading, message string }

var kinds = map[int]kind{
	400: {"bad_request", "Bad request", "This request was not understood, so it was not passed on. Check the address and try again."},
	401: {"unauthenticated", "Please log in", "This page is for people who are logged in."},
	403: {"forbidden", "No access", "Your account may not open this page. Ask whoever runs this site if it should."},
	404: {"not_found", "Page not found", "There is no page at this address. Check it for typing mistakes."},
	405: {"method_not_allowed", "Not possible here", "This address does not take requests of this kind."},
	408: {"request_timeout", "That took too long", "Your request did not arrive completely in time. Check your connection and send it again."},
	413: {"too_large", "Too large", "What you sent is larger than this site accepts. Send less, or a smaller file."},
	414: {"uri_too_long", "Address too long", "The address is longer than this site accepts. Shorten it and try again."},
	415: {"unsupported_media_type", "Not understood", "What you sent has a form this site does not accept."},
	421: {"misdirected", "Unknown host", "This server does not answer for the name in the address. Check it for typing mistakes."},
	429: {"limited", "Too many attempts", "Too many requests came in a short time, so this one was refused."},
	431: {"headers_too_large", "Too many headers", "Your browser sent more header data than this site accepts. Deleting this site's cookies usually helps."},
	500: {"internal", "Something went wrong", "The gateway made a mistake. Try again; if it stays, tell whoever runs this site the request id below."},
	502: {"bad_gateway", "The application does not answer", "The application behind this address could not be reached. Try again in a moment."},
	503: {"unavailable", "Not available right now", "Your login cannot be checked at the moment. You are not logged out."},
	504: {"timeout", "The application takes too long", "The application behind this address did not answer in time. Try again in a moment."},
	508: {"loop", "Going in circles", "This request came back to the gateway that sent it. Whoever runs this site must mend its configuration."},
}

// kindOf gives the kind of any status, known or not.
func kindOf(status int) kind {
	if k, ok := kinds[status]; ok {
		return k
	}
	heading := http.StatusText(status)
	if heading == "" {
		heading = "Error " + strconv.Itoa(status)
	}
	return kind{code: "error", heading: heading, message: "The request could not be answered."}
}

// complete fills what was left empty.
func (pr Problem) complete() (Problem, string) {
	k := kindOf(pr.Status)
	if pr.Code == "" {
		pr.Code = k.code
	}
	if pr.Message == "" {
		pr.Message = k.message
	}
	return pr, k.heading
}

// problemData is what problem.html knows.
type problemData struct {
	frame
	Status    int
	Code      string
	Heading   string
	Message   string
	Wait      string
	LoginURL  string
	Retry     bool
	Home      bool
	RequestID string
}

// Problem answers with a page for people, with JSON for programs (see [WantsJSON]), or in the words of gRPC
// (see [IsGRPC]).
func (p *Pages) Problem(w http.ResponseWriter, r *http.Request, pr Problem) {
	if IsGRPC(r) || WantsJSON(r) {
		p.JSON(w, r, pr)
		return
	}
	pr, heading := pr.complete()
	setRetryAfter(w, pr.RetryAfter)
	data := problemData{
		frame: p.frame(r), Status: pr.Status, Code: pr.Code, Heading: heading, Message: pr.Message,
		Wait: wait(pr.RetryAfter), LoginURL: pr.LoginURL, Retry: canRetry(r, pr.Status),
		Home:      pr.Status == http.StatusForbidden || pr.Status == http.StatusNotFound,
		RequestID: telemetry.RequestFrom(r.Context()).ID,
	}
	switch pr.Code {
	case CodeLogoutUnconfirmed:
		data.Heading, data.Wait, data.Retry, data.Home = "Logged out, not yet confirmed", "", false, true
	case CodeTooManyRequests:
		data.Heading = "Too many requests"
	case CodeEndUnconfirmed:
		data.Heading, data.Wait, data.Retry, data.Home = "Ended here, not yet confirmed", "", false, true
	}
	p.write(w, r, pr.Status, p.problem, data)
}

// canRetry says whether asking the same address again may help. The link is a GET, so it is only
// offered where the request was one: what a form sent is not sent again behind anybody's back.
func canRetry(r *http.Request, status int) bool {
	switch status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable,
		http.StatusGatewayTimeout, http.StatusTooManyRequests:
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	}
	return false
}

// problemJSON is a problem for programs.
type problemJSON struct {
	Error     string `json:"error"`
	Message   string `json:"message"`
	Status    int    `json:"status"`
	RequestID string `json:"request_id,omitempty"`
	Login     string `json:"login,omitempty"`
}

// JSON answers with JSON whatever the client would like better, unless it is a gRPC call:
//
//	{"error": "unauthenticated", "message": "…", "status": 401, "request_id": "…", "login": "/login?next=…"}
func (p *Pages) JSON(w http.ResponseWriter, r *http.Request, pr Problem) {
	if IsGRPC(r) {
		p.grpc(w, r, pr)
		return
	}
	pr, _ = pr.complete()
	setRetryAfter(w, pr.RetryAfter)
	body, err := json.Marshal(problemJSON{pr.Code, pr.Message, pr.Status, telemetry.RequestFrom(r.Context()).ID, pr.LoginURL})
	if err != nil {
		body = []byte("{}") // strings and a number: cannot happen
	}
	send(w, r, pr.Status, "application/json", policy(nil), append(body, '\n'))
}

// setRetryAfter writes whole seconds, rounded up: rounded down, an obedient client would come a
// moment too early, each time.
func setRetryAfter(w http.ResponseWriter, d time.Duration) {
	if d > 0 {
		w.Header().Set("Retry-After", strconv.FormatInt(seconds(d), 10))
	}
}

func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// wait puts a duration into words.
func wait(d time.Duration) string {
	n, unit := seconds(d), "second"
	switch {
	case d <= 0:
		return ""
	case n > 5400:
		n, unit = (n+3599)/3600, "hour"
	case n > 90:
		n, unit = (n+59)/60, "minute"
	}
	if n != 1 {
		unit += "s"
	}
	return fmt.Sprintf("%d %s", n, unit)
}
