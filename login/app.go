package login

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"gatehouse/config"
	"gatehouse/session"
)

const (
	defaultAppTimeout  = 15 * time.Second
	defaultMaxResponse = 1 << 20
)

// appBackend logs in through the application's own form. The form itself is the application's and is
// proxied like any page; only the POST that may complete a login comes here. It is forwarded once,
// and the application's answer decides.
//
// What is trusted is the application's answer to this very request, and nothing the browser says: a
// login is recognised by every configured mark (I03), and who it is by one unambiguous identity (I02).
// When the application has said yes and anything fails after that, none of its cookies reaches the
// browser (I06): an application session without a gateway session would outlive every revocation.
type appBackend struct {
	h        *Handler
	cfg      config.LoginApp
	paths    []string // where a POST may complete a login
	marks    marks
	fields   []string // names of account fields, folded
	noFields sync.Once
}

func newAppBackend(cfg config.Login, h *Handler) (backend, error) {
	if h.deps.App == nil || h.deps.Vault == nil {
		return nil, errors.New("backend app needs the application and the vault")
	}
	m, err := newMarks(cfg.App.Success)
	if err != nil {
		return nil, err
	}
	if err := checkIdentity(cfg.App.Identity); err != nil {
		return nil, err
	}
	a := &appBackend{h: h, cfg: cfg.App, marks: m, paths: append([]string{cfg.Path}, cfg.App.CompletionPaths...)}
	if a.cfg.Timeout <= 0 {
		a.cfg.Timeout = defaultAppTimeout
	}
	if a.cfg.MaxResponse <= 0 {
		a.cfg.MaxResponse = defaultMaxResponse
	}
	for _, name := range cfg.App.AccountFields {
		a.fields = append(a.fields, foldField(name))
	}
	return a, nil
}

func (a *appBackend) name() string { return BackendApp }

func (a *appBackend) close() error { return nil }

// attempt is one POST that may complete a login.
type attempt struct {
	r      *http.Request
	target string
	body   []byte
	client string // the browser's cookies without the gateway's
	began  session.Epoch
	// identity holds the answer's headers before the identity was taken out of them.
	identity http.Header

	// The session the browser has already, and the application's cookies in it. The jar is carried
	// over into the new session, as a browser's would be: many applications keep their session
	// cookie's value at login.
	rec   *session.Record
	token string
	jar   *jar
}

func (a *appBackend) serveLogin(w http.ResponseWriter, r *http.Request) {
	at, err := a.prepare(w, r)
	if err != nil {
		a.h.refuse(w, r, "", err)
		return
	}
	ex := newExchange(r.Context(), a.cfg.Timeout)
	defer ex.close()
	resp, err := a.forward(ex, at)
	if err != nil {
		a.appFailed(w, r, err)
		return
	}
	defer resp.Body.Close()
	at.identity = resp.Header.Clone()
	// Before clean: the header that tells who it is may be the mark of a success as well.
	body, success, err := a.judge(ex, resp)
	resp = a.clean(resp)
	switch {
	case err != nil:
		a.appFailed(w, r, err)
	case !success:
		ex.unbound() // a page may take its time; only the decision may not
		a.relayRefusal(w, at, resp)
	default:
		a.complete(w, at, ex, resp, body)
	}
}

// prepare does everything that comes before the application is asked.
func (a *appBackend) prepare(w http.ResponseWriter, r *http.Request) (*attempt, error) {
	// I01: compared raw. /login/%2e%2e/uploads/e.json is answered with what somebody uploaded.
	path := r.URL.EscapedPath()
	if r.Method != http.MethodPost {
		return nil, &RequestError{http.StatusMethodNotAllowed, "a login is a POST"}
	}
	if !slices.Contains(a.paths, path) {
		return nil, &RequestError{http.StatusBadRequest, "this is not the path of the login"}
	}
	if err := a.h.admit(r); err != nil {
		return nil, err
	}
	at := &attempt{r: r, target: path, client: a.clientCookies(r)}
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		at.target += "?" + r.URL.RawQuery
	}
	var err error
	if at.body, err = readBody(w, r); err != nil {
		return nil, err
	}
	if err := a.limitAccounts(r, path, at.body); err != nil {
		return nil, err
	}
	if at.began, err = a.h.begin(r.Context()); err != nil {
		return nil, err
	}
	return at, a.findPrevious(at)
}

// limitAccounts counts the attempt for every account that is named.
func (a *appBackend) limitAccounts(r *http.Request, path string, body []byte) error {
	accounts, err := accountsOf(r.Header, r.URL.RawQuery, body, a.fields)
	if err != nil {
		return err
	}
	if len(accounts) == 0 && path == a.paths[0] {
		a.noFields.Do(func() {
			a.h.deps.Log.Warn().Strs("account_fields", a.cfg.AccountFields).
				Msg("a login named no account, so the limit per account did not count it: does login.app.account_fields hold the name of the form's field?")
		})
	}
	for _, account := range accounts {
		if err := a.h.allowAccount(account); err != nil {
			return err
		}
	}
	return nil
}

// findPrevious looks up the session the browser has.
func (a *appBackend) findPrevious(at *attempt) error {
	at.jar = &jar{}
	token, _ := a.h.deps.Cookies.Read(at.r.Header)
	if token == "" {
		return nil
	}
	found, err := a.h.deps.Sessions.Find(at.r.Context(), token)
	if errors.Is(err, session.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	opened, err := a.h.deps.Vault.open(found.Record, token)
	if err != nil {
		// Not a reason to keep somebody out: the new session replaces what cannot be read.
		a.h.deps.Log.Error().Err(err).Str("session", found.ID.Short()).Msg("the application's cookies in a session cannot be read")
		return nil
	}
	at.rec, at.token, at.jar = found.Record, token, opened
	return nil
}

// clientCookies are the browser's cookies in one line, without the gateway's own (S02).
func (a *appBackend) clientCookies(r *http.Request) string {
	return dropCookies(strings.Join(r.Header["Cookie"], "; "), []string{a.h.deps.Cookies.Name()})
}

// judge decides whether the answer is a success. body is read only when a mark or the identity is in it.
func (a *appBackend) judge(ex *exchange, resp *http.Response) (body []byte, success bool, err error) {
	if !a.marks.holdInHeader(resp) {
		return nil, false, nil
	}
	if a.marks.needBody() || a.cfg.Identity.From == fromJSON {
		if body, err = ex.readBody(resp, int64(a.cfg.MaxResponse)); err != nil {
			return nil, false, err
		}
	}
	return body, a.marks.holdInBody(body), nil
}

// complete turns the application's yes into a session.
func (a *appBackend) complete(w http.ResponseWriter, at *attempt, ex *exchange, resp *http.Response, body []byte) {
	user, err := a.identify(ex, at, resp, body)
	now := a.merged(at, resp.Header)
	if err != nil {
		a.undo(at, now)
		a.appFailed(w, at.r, err)
		return
	}
	kept, err := a.h.deps.Vault.keep(at.jar, at.target, resp.Header, at.client)
	if err == nil {
		_, err = a.h.establish(w, at.r, session.Login{User: user, Secrets: kept.secrets, Began: at.began})
	}
	if err != nil {
		a.undo(at, now)
		a.h.refuse(w, at.r, "", fmt.Errorf("%w: %w", errHalfway, err))
		return
	}
	ex.unbound()
	for _, c := range kept.expire {
		resp.Header.Add("Set-Cookie", expireLine(c))
	}
	a.redirect(at.r, resp)
	a.relay(w, at.r, resp)
}

// identify reads who has logged in.
func (a *appBackend) identify(ex *exchange, at *attempt, resp *http.Response, body []byte) (session.User, error) {
	var user session.User
	var err error
	switch a.cfg.Identity.From {
	case fromHeader:
		user, err = identityFromHeader(at.identity, a.cfg.Identity.Fields)
	case fromJSON:
		user, err = identityFromJSON(body, a.cfg.Identity.Fields)
	default:
		var answer []byte
		if answer, err = a.whoami(ex, at, resp); err != nil {
			return user, err
		}
		user, err = identityFromJSON(answer, a.cfg.Identity.Fields)
	}
	if err != nil {
		return user, fmt.Errorf("%w: %w", ErrApp, err)
	}
	return user, nil
}

// appFailed answers when the application did not, or not in a way that is understood. ErrApp is
// the gateway's page; anything else happened on the way to the application.
func (a *appBackend) appFailed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, ErrApp) {
		a.h.refuse(w, r, "", err)
		return
	}
	a.h.failed(r, "", fmt.Errorf("%w: %w", ErrApp, err))
	a.h.deps.App.Fail(w, r, err)
}

// logout ends the application's own session: the browser's POST goes on to the application with the
// vault's cookies.
func (a *appBackend) logout(ctx context.Context, r *http.Request, rec *session.Record, token string) (appLogout, error) {
	ex := newExchange(ctx, a.cfg.Timeout)
	defer ex.close()
	return a.forwardLogout(ex, r, rec, token)
}
