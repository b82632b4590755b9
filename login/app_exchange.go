package login

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"
)

// undoTimeout bounds the attempt to log out of the application after a login that came to nothing.
const undoTimeout = 3 * time.Second

// exchange is the talk with the application about one login or logout, bounded in time as a whole (I05).
type exchange struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
}

// errTooSlow is the cause when the time is over. It is a deadline to those who turn errors into
// answers (504), where a plain cancellation would mean that the client went away (499).
var errTooSlow = fmt.Errorf("login: the application takes too long: %w", context.DeadlineExceeded)

func newExchange(ctx context.Context, timeout time.Duration) *exchange {
	ctx, cancel := context.WithCancelCause(ctx)
	return &exchange{ctx, cancel, time.AfterFunc(timeout, func() { cancel(errTooSlow) })}
}

// unbound lifts the limit: what is left is to pass bytes on.
func (e *exchange) unbound() { e.timer.Stop() }

func (e *exchange) close() {
	e.timer.Stop()
	e.cancel(nil)
}

// failure names the cause behind an error of the transport or of reading a body.
func (e *exchange) failure(err error) error {
	if cause := context.Cause(e.ctx); errors.Is(cause, errTooSlow) {
		return errTooSlow
	}
	return err
}

// readBody reads an answer's body whole and puts it back, so that it can still be relayed. A body over
// limit is ErrApp: whether the login succeeded cannot be told.
func (e *exchange) readBody(resp *http.Response, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	_ = resp.Body.Close()
	if err != nil {
		return nil, e.failure(err)
	}
	if int64(len(body)) > limit {
		return nil, fmt.Errorf("%w: it is larger than login.app.max_response, %d bytes", ErrApp, limit)
	}
	setBody(resp, body)
	return body, nil
}

// setBody gives resp a body that is in memory. Its length is right then, whatever framing it came in.
func setBody(resp *http.Response, body []byte) {
	resp.Body = io.NopCloser(bytes.NewReader(body))
	resp.ContentLength = int64(len(body))
	resp.TransferEncoding = nil
	resp.Header.Del("Transfer-Encoding")
	resp.Header.Set("Content-Length", strconv.Itoa(len(body)))
}

// forward sends the login to the application, once (X10): the same body, the same target.
func (a *appBackend) forward(ex *exchange, at *attempt) (*http.Response, error) {
	cookies := at.client
	if at.rec != nil {
		var err error
		if cookies, err = a.h.deps.Vault.Outgoing(at.rec, at.token, at.target, at.client); err != nil {
			return nil, err
		}
	}
	resp, err := a.h.deps.App.Send(ex.ctx, at.r, http.MethodPost, at.target, appHeader(cookies), at.body)
	if err != nil {
		return nil, ex.failure(err)
	}
	return resp, nil
}

// appHeader is what a request of ours to the application has besides the client's headers.
func appHeader(cookies string) http.Header {
	set := http.Header{
		"Accept-Encoding": {"identity"}, // I04: the answer must be readable
		"Expect":          nil,          // the body is here already
		"Cookie":          nil,
	}
	if cookies != "" {
		set.Set("Cookie", cookies)
	}
	return set
}

// whoamiUnset are headers of the login's POST that would make no sense with a GET, or change its answer.
var whoamiUnset = []string{
	"Content-Type", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Origin",
	"Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
	"Authorization", // the cookies alone must say who it is
}

// whoami asks the application who has logged in, with the cookies the browser would have now. The
// cookies of its answer join those of resp.
func (a *appBackend) whoami(ex *exchange, at *attempt, resp *http.Response) ([]byte, error) {
	target := a.cfg.Identity.WhoamiPath
	set := appHeader(a.merged(at, resp.Header).header(target, at.client, a.h.deps.Clock()))
	for _, name := range whoamiUnset {
		set[name] = nil
	}
	set.Set("Accept", "application/json")
	answer, err := a.h.deps.App.Send(ex.ctx, at.r, http.MethodGet, target, set, nil)
	if err != nil {
		return nil, ex.failure(err)
	}
	defer answer.Body.Close()
	answer = a.clean(answer)
	switch {
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%w: whoami_path answered %d; if that is a login which is not complete yet (a second step follows), "+
			"login.app.success needs a mark that only the last step has", ErrApp, answer.StatusCode)
	case isEncoded(answer.Header):
		return nil, fmt.Errorf("%w: whoami_path answered with a Content-Encoding, though asked not to", ErrApp)
	case !isJSON(answer.Header.Get("Content-Type")):
		return nil, fmt.Errorf("%w: whoami_path answered with something that is not JSON", ErrApp)
	}
	body, err := ex.readBody(answer, int64(a.cfg.MaxResponse))
	if err != nil {
		return nil, err
	}
	addCookies(resp.Header, answer.Header["Set-Cookie"], target, a.h.deps.Clock())
	return body, nil
}

// addCookies adds the Set-Cookie lines of an answer to a request for path. Where a line has no Path
// the one it would have had is written down: it depends on the request, which the browser never made.
func addCookies(to http.Header, lines []string, path string, now time.Time) {
	for _, line := range lines {
		if parseSetCookie(line, now).path == "" {
			line += "; Path=" + defaultPath(path)
		}
		to.Add("Set-Cookie", line)
	}
}

// merged is every cookie the browser would have after the answer with header h: the vault's and all
// that h sets, whether the vault would keep it or not.
func (a *appBackend) merged(at *attempt, h http.Header) *jar {
	now := a.h.deps.Clock()
	var lines []setCookie
	for _, line := range h["Set-Cookie"] {
		if c := parseSetCookie(line, now); !c.broken && c.name != "" {
			lines = append(lines, c)
		}
	}
	j, _ := at.jar.apply(changesOf(lines, at.target), now) // what does not fit fails the login later on
	return j
}

// undo logs out of the application again, with the cookies the browser would have, as well as that goes: it may ask for a CSRF token we do not
// have. Without it an application that keeps its cookie's value at login would go on believing the
// browser's copy.
func (a *appBackend) undo(at *attempt, cookies *jar) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(at.r.Context()), undoTimeout)
	defer cancel()
	target := a.h.cfg.LogoutPath
	set := appHeader(cookies.header(target, at.client, a.h.deps.Clock()))
	set["Content-Type"] = nil
	answer, err := a.h.deps.App.Send(ctx, at.r, http.MethodPost, target, set, nil)
	if err != nil {
		a.h.deps.Log.Warn().Err(err).Msg("a login failed after the application had accepted it, and logging out of the application failed as well")
		return
	}
	_ = answer.Body.Close()
}
