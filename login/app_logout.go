package login

import (
	"fmt"
	"io"
	"net/http"

	"gatehouse/session"
)

// forwardLogout sends the browser's POST on to the application, body and all: it may hold the
// application's CSRF token. The vault's cookies go along and none of the vault's comes back, not even
// a fresh anonymous one: an application that refused the logout sends its cookie for a session that is
// still logged in.
func (a *appBackend) forwardLogout(ex *exchange, r *http.Request, rec *session.Record, token string) (appLogout, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxForm))
	if err != nil {
		return appLogout{}, fmt.Errorf("login: the logout's form did not arrive: %w", err)
	}
	target := r.URL.EscapedPath()
	if r.URL.RawQuery != "" || r.URL.ForceQuery {
		target += "?" + r.URL.RawQuery
	}
	cookies, owned := a.clientCookies(r), &jar{}
	if rec != nil && token != "" {
		if owned, err = a.h.deps.Vault.open(rec, token); err != nil {
			return appLogout{}, err
		}
		cookies = owned.header(target, cookies, a.h.deps.Clock())
	}
	resp, err := a.h.deps.App.Send(ex.ctx, r, http.MethodPost, target, appHeader(cookies), body)
	if err != nil {
		return appLogout{}, fmt.Errorf("login: the application could not be told of the logout: %w", ex.failure(err))
	}
	defer resp.Body.Close()
	resp = a.clean(resp)
	a.h.deps.Vault.take(resp.Header, owned)
	out := appLogout{SetCookie: resp.Header["Set-Cookie"]}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		out.Location = a.localPath(r, resp.Header.Get("Location"))
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return out, fmt.Errorf("login: the application answered %d to the logout", resp.StatusCode)
	}
	return out, nil
}
