package login

import (
	"context"
	"errors"
	"net/http"
	"time"

	"gatehouse/config"
	"gatehouse/login/password"
	"gatehouse/pages"
	"gatehouse/session"
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

// waitingPerHash is how many logins may be on their way for each password that is hashed at once: as many
// as get their turn within hashWait or so, with hashes of 30 ms.
const waitingPerHash = 32

// formBackend is the gateway's own login page before whatever knows the accounts: backends file and
// database.
type formBackend struct {
	h        *Handler
	accounts accounts
	// hashing holds one element per password being hashed: each takes a core and 19 MiB (L05).
	hashing chan struct{}
	wait    time.Duration
	// places holds one element per login that is being looked at. In a flood all but a few must be refused
	// whatever is done for them, and who is logged in pays for what is done: so it is nothing, no question to Redis and no wait.
	places chan struct{}
	// refusing holds one element per refusal for want of a place that is being written, one after the other: thousands
	// at once would all be ahead of the requests that come after them.
	refusing chan struct{}
}

// accounts are who may log in.
type accounts interface {
	// name is the backend's.
	name() string
	// known gives the name under which an account may stand in a log, when there is such an account and that
	// can be told without asking anybody; else "".
	known(typed string) string
	// find gives the account that was meant by what was typed. That there is none is no error but an account
	// that refuses, whose hash takes as long as those of others (L04).
	find(ctx context.Context, typed string) (account, error)
	// close releases what is open.
	close() error
}

// account is what somebody wants to log in to.
type account struct {
	session.User
	hash password.Hash
	// known is its name in logs; "" when there is no such account.
	known string
	// decoy: hash is none of its own. No password matches it.
	decoy bool
	// refused is why nobody may log in here, whatever the password: a reason of the audit line. "" = who
	// knows the password may.
	refused string
	// limit is a further key whose attempts are limited, for accounts that go by more names than one; "" = none.
	// Accounts that are not there have one if those that are do: asking for it takes its time.
	limit string
	// renew keeps a better hash of the same password; nil: the hash stays. It never fails a login.
	renew func(ctx context.Context, hash string)
}

func newFormBackend(cfg config.Login, h *Handler, a accounts) *formBackend {
	atOnce := max(cfg.Limits.MaxConcurrentHashes, 1)
	return &formBackend{
		h: h, accounts: a, wait: hashWait,
		hashing: make(chan struct{}, atOnce), places: make(chan struct{}, atOnce*waitingPerHash),
		refusing: make(chan struct{}, 1),
	}
}

func (b *formBackend) name() string { return b.accounts.name() }

func (b *formBackend) close() error { return b.accounts.close() }

// logout has nothing to do: the session was all there is.
func (*formBackend) logout(context.Context, *http.Request, *session.Record, string) (appLogout, error) {
	return appLogout{}, nil
}

func (b *formBackend) serveLogin(w http.ResponseWriter, r *http.Request) {
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
func (b *formBackend) form(w http.ResponseWriter, r *http.Request, status int, next, message string) {
	next, _ = SafeNext(next, b.h.cfg.Path, b.h.cfg.LogoutPath)
	b.h.deps.Pages.Login(w, r, status, pages.LoginView{Action: b.h.cfg.Path, Next: next, Message: message})
}

// typed is what somebody typed.
type typed struct {
	account, password, next string
	// known is the account, if it exists: the only thing of it that may stand in a log.
	known string
}

func (b *formBackend) post(w http.ResponseWriter, r *http.Request) {
	var a typed
	rec, err := b.login(w, r, &a)
	if errors.Is(err, ErrBusy) {
		defer b.refuseInTurn(r.Context())()
	}
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
func (b *formBackend) login(w http.ResponseWriter, r *http.Request, a *typed) (*session.Record, error) {
	if len(b.places) == cap(b.places) {
		return nil, ErrBusy
	}
	if err := b.h.admit(r); err != nil {
		return nil, err
	}
	// A place is taken only now: whoever sends their body slowly must not keep others out.
	if err := a.read(w, r); err != nil {
		return nil, err
	}
	select {
	case b.places <- struct{}{}:
		defer func() { <-b.places }()
	default:
		return nil, ErrBusy
	}
	a.known = b.accounts.known(a.account)
	if err := b.h.allowAccount(a.account); err != nil {
		return nil, err
	}
	began, err := b.h.begin(r.Context())
	if err != nil {
		return nil, err
	}
	account, err := b.accounts.find(r.Context(), a.account)
	if err != nil {
		return nil, err
	}
	a.known = account.known
	if err := b.prove(r.Context(), account, a.password); err != nil {
		return nil, err
	}
	rec, err := b.h.establish(w, r, session.Login{Began: began, User: account.User})
	if err == nil && account.renew != nil {
		b.renew(r.Context(), account, a.password)
	}
	return rec, err
}

// prove looks at the password. Whatever is wrong, the work is the same and so is the answer (L04).
// Errors: ErrBadCredentials, ErrBusy.
func (b *formBackend) prove(ctx context.Context, a account, typed string) error {
	// One account may go by names that differ for the limit and are one for the database (e and é, L03). Who is
	// over the limit of the account itself is not told so: with several names for nobody it would not be reached.
	over := a.limit != "" && b.h.allowUser(a.limit) != nil
	matches := false
	if err := b.turn(ctx, func() { matches = b.h.deps.Hashes.Matches(a.hash, typed) }); err != nil {
		return err
	}
	switch {
	case over:
		return refusal{reasonLimited}
	case a.refused != "" && (matches || a.decoy):
		return refusal{a.refused}
	case !matches:
		// Also for an account that is refused: the log says who knew its password.
		return refusal{reasonBadCredentials}
	}
	return nil
}

// renew makes a better hash of a password that was right. When others wait for their turn it is left for
// the next time.
func (b *formBackend) renew(ctx context.Context, a account, typed string) {
	// bcrypt has read 72 bytes. What came behind them may be mistyped, and would be what counts from now on.
	if a.hash.Scheme() == password.Bcrypt && len(typed) > 72 {
		return
	}
	var hash string
	if b.turn(ctx, func() { hash = b.h.deps.Hashes.Hash(typed) }) == nil {
		a.renew(ctx, hash)
	}
}

// read takes the fields out of the body (L06).
func (a *typed) read(w http.ResponseWriter, r *http.Request) error {
	if !isForm(r) {
		return &RequestError{http.StatusUnsupportedMediaType, "the form must be sent as application/x-www-form-urlencoded"}
	}
	body, err := readBody(w, r)
	if err != nil {
		return err
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

// refuseInTurn waits until no other refusal is being written, and gives what lets the next one go on. It waits no longer than
// for a hash: a client that does not read its own (a window of 0 in HTTP/2) would keep everybody else without an answer.
func (b *formBackend) refuseInTurn(ctx context.Context) (next func()) {
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case b.refusing <- struct{}{}:
		return func() { <-b.refusing }
	case <-timer.C:
	case <-ctx.Done():
	}
	return func() {}
}

// turn hashes when it is its turn. Error: ErrBusy.
func (b *formBackend) turn(ctx context.Context, hash func()) error {
	timer := time.NewTimer(b.wait)
	defer timer.Stop()
	select {
	case b.hashing <- struct{}{}:
	case <-timer.C:
		return ErrBusy
	case <-ctx.Done(): // the client is gone
		return errors.Join(ErrBusy, ctx.Err())
	}
	defer func() { <-b.hashing }()
	hash()
	return nil
}
