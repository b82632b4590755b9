package login

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"gatehouse/config"
	"gatehouse/login/users"
	"gatehouse/pages"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// The fields of a login. Programs may call the account email, as the user file does.
const (
	fieldAccount  = pages.FieldAccount
	fieldEmail    = "email"
	fieldPassword = pages.FieldPassword
	fieldNext     = pages.FieldNext
)

// hashWait is how long a login waits for its turn to have its password hashed.
const hashWait = time.Second

// fileBackend is backend file: the gateway's own login page and the user file.
type fileBackend struct {
	h     *Handler
	users *users.File
	// hashing holds one element per password being hashed: each takes a core and 19 MiB (L05).
	hashing chan struct{}
	wait    time.Duration
}

func newFileBackend(cfg config.Login, h *Handler) (backend, error) {
	file, err := users.Open(cfg.File.Path, h.deps.Log)
	if err != nil {
		return nil, err
	}
	return &fileBackend{
		h: h, users: file, wait: hashWait,
		hashing: make(chan struct{}, max(cfg.Limits.MaxConcurrentHashes, 1)),
	}, nil
}

func (*fileBackend) name() string { return BackendFile }

func (b *fileBackend) close() error { return b.users.Close() }

// logout has nothing to do: the session was all there is.
func (*fileBackend) logout(context.Context, *http.Request, *session.Record, string) (appLogout, error) {
	return appLogout{}, nil
}

func (b *fileBackend) serveLogin(w http.ResponseWriter, r *http.Request) {
	if err := methods(w, r, "GET, HEAD, POST", http.MethodGet, http.MethodHead, http.MethodPost); err != nil {
		b.h.refuse(w, r, "", err)
		return
	}
	if _, n := b.h.deps.Cookies.Read(r.Header); n > 1 {
		http.SetCookie(w, b.h.deps.Cookies.Clear()) // S01
	}
	if r.Method == http.MethodPost {
		b.post(w, r)
		return
	}
	// Who is logged in already sees the form too: to log in as somebody else.
	b.form(w, r, http.StatusOK, r.URL.Query().Get(fieldNext), "")
}

// form shows the login form. What was typed as the account is not filled in again: the answer to a
// failed login is the same bytes for every account (L04).
func (b *fileBackend) form(w http.ResponseWriter, r *http.Request, status int, next, message string) {
	next, _ = SafeNext(next, b.h.cfg.Path, b.h.cfg.LogoutPath)
	b.h.deps.Pages.Login(w, r, status, pages.LoginView{Action: b.h.cfg.Path, Next: next, Message: message})
}

// typed is what somebody typed.
type typed struct {
	account, password, next string
	// known is the account, if it exists: the only thing of it that may stand in a log.
	known string
}

func (b *fileBackend) post(w http.ResponseWriter, r *http.Request) {
	var a typed
	rec, err := b.login(w, r, &a)
	switch {
	case err == nil:
		b.welcome(w, r, rec, a.next)
	case judge(err).status == http.StatusUnauthorized && !pages.WantsJSON(r):
		b.h.failed(r, a.known, err)
		b.form(w, r, http.StatusUnauthorized, a.next, failedMessage)
	default:
		b.h.refuse(w, r, a.known, err)
	}
}

// login is the order of things: what is cheap and refuses most comes first, nothing is hashed before the
// limits (L03), and the epoch is taken before the password is looked at.
func (b *fileBackend) login(w http.ResponseWriter, r *http.Request, a *typed) (*session.Record, error) {
	if err := b.h.admit(r); err != nil {
		return nil, err
	}
	if err := a.read(w, r); err != nil {
		return nil, err
	}
	set := b.users.Users()
	user, exists := set.Find(a.account)
	if exists {
		a.known = user.Email
	}
	if err := b.h.allowAccount(a.account); err != nil {
		return nil, err
	}
	began, err := b.h.begin(r.Context())
	if err != nil {
		return nil, err
	}
	hash := user.Hash
	if !exists {
		hash = set.Decoy(a.account)
	}
	matches, err := b.compare(r.Context(), hash.Matches, a.password)
	if err != nil {
		return nil, err
	}
	if !matches || !exists || user.Disabled {
		return nil, ErrBadCredentials
	}
	return b.h.establish(w, r, session.Login{Began: began, User: session.User{
		ID: user.ID, Email: user.Email, Name: user.Name, Role: user.Role, EmailVerified: user.EmailVerified,
	}})
}

// read takes the fields out of the body (L06).
func (a *typed) read(w http.ResponseWriter, r *http.Request) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if !isForm(r) {
		return &RequestError{http.StatusUnsupportedMediaType, "the form must be sent as application/x-www-form-urlencoded"}
	}
	form, err := parseFields(body, fieldAccount, fieldEmail, fieldPassword, fieldNext)
	if err != nil {
		return err
	}
	if len(form[fieldAccount])+len(form[fieldEmail]) > 1 {
		return &RequestError{http.StatusBadRequest, "the fields account and email are both there"}
	}
	a.account = form.Get(fieldAccount) + form.Get(fieldEmail)
	a.password, a.next = form.Get(fieldPassword), form.Get(fieldNext)
	return nil
}

// compare hashes the password when it is its turn. Error: ErrBusy.
func (b *fileBackend) compare(ctx context.Context, matches func(string) bool, password string) (bool, error) {
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case b.hashing <- struct{}{}:
	case <-timer.C:
		return false, ErrBusy
	case <-ctx.Done(): // the client is gone
		return false, errors.Join(ErrBusy, ctx.Err())
	}
	defer func() { <-b.hashing }()
	return matches(password), nil
}

// welcome answers a login that worked: 303 for people, for programs 200 with
// {"userId": …, "next": "/…"}, userId being a number where the session's record has one.
func (b *fileBackend) welcome(w http.ResponseWriter, r *http.Request, rec *session.Record, next string) {
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
