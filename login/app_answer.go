package login

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"gatehouse/telemetry"
)

// clean takes out of an answer what is for the gateway alone: its own cookie's name (S02), the identity
// headers (I09), and trailers, which could bring both after the header has been looked at.
func (a *appBackend) clean(resp *http.Response) *http.Response {
	// A copy, because the transport adds trailers to the one it gave us when the body ends.
	cleaned := *resp
	cleaned.Trailer = nil
	cleaned.Header.Del("Trailer")
	for _, name := range IdentityHeaders(a.cfg) {
		cleaned.Header.Del(name)
	}
	own := a.h.deps.Cookies.Name()
	setLines(cleaned.Header, slices.DeleteFunc(cleaned.Header["Set-Cookie"], func(line string) bool {
		name, _, _ := strings.Cut(line, "=")
		return strings.EqualFold(trim(name), own)
	}))
	return &cleaned
}

func setLines(h http.Header, lines []string) {
	if len(lines) == 0 {
		h.Del("Set-Cookie")
		return
	}
	h["Set-Cookie"] = lines
}

// relayRefusal passes on the answer to a login that did not succeed, or is not complete (I08). Before
// login all the application's cookies pass; a browser that has a session has the vault.
func (a *appBackend) relayRefusal(w http.ResponseWriter, at *attempt, resp *http.Response) {
	a.h.failed(at.r, "", ErrBadCredentials)
	if at.rec != nil {
		if err := a.h.deps.Vault.Incoming(at.r.Context(), at.rec, at.token, at.target, resp.Header); err != nil {
			a.h.deps.Log.Error().Err(err).Str("session", at.rec.ID.Short()).Msg("cookies of the application could not be kept")
		}
	}
	a.keepNext(at.r, resp)
	a.relay(w, at.r, resp)
}

// keepNext lets a redirect back to the form remember where the person wanted to go: after a mistyped
// password the second try shall lead there too.
func (a *appBackend) keepNext(r *http.Request, resp *http.Response) {
	next, ok := a.next(r)
	if !ok || !isRedirect(resp.StatusCode) {
		return
	}
	form, err := url.Parse(a.localPath(r, resp.Header.Get("Location")))
	if err != nil || form.EscapedPath() != a.h.cfg.Path || form.Query().Has("next") {
		return
	}
	if form.RawQuery != "" {
		form.RawQuery += "&"
	}
	form.RawQuery += url.Values{"next": {next}}.Encode()
	resp.Header.Set("Location", form.String())
}

// isRedirect reports whether a browser goes on with a GET. 307 and 308 would send the password on as well.
func isRedirect(status int) bool {
	return status == http.StatusMovedPermanently || status == http.StatusFound || status == http.StatusSeeOther
}

// relay writes the answer, which no cache may keep (S13).
func (a *appBackend) relay(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	// Once, in the answer's own header: the relay adds what stands there to what w has.
	w.Header().Del("Cache-Control")
	resp.Header.Set("Cache-Control", "no-store")
	a.h.deps.App.Relay(w, r, resp)
}

// redirect sends the person to where the gateway's redirect to the login had caught them. The
// application cannot: its form does not know next, or does not pass it on.
func (a *appBackend) redirect(r *http.Request, resp *http.Response) {
	next, ok := a.next(r)
	if !ok || !isRedirect(resp.StatusCode) {
		return
	}
	resp.Header.Set("Location", next)
	// The body links to the other place; its length and checksums go with it (I05).
	_ = resp.Body.Close()
	setBody(resp, nil)
	for _, name := range []string{"Content-Type", "Etag", "Last-Modified", "Accept-Ranges", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		resp.Header.Del(name)
	}
}

// next is the safe path in the query of the POST or, because most forms post to a plain /login, in
// that of the form's own page, which the browser tells as Referer.
func (a *appBackend) next(r *http.Request) (string, bool) {
	if query := r.URL.Query(); query.Has("next") {
		return SafeNext(query.Get("next"), a.h.cfg.Path, a.h.cfg.LogoutPath)
	}
	from, err := url.Parse(a.localPath(r, r.Referer()))
	if err != nil || from.EscapedPath() != a.h.cfg.Path || !from.Query().Has("next") {
		return "", false
	}
	return SafeNext(from.Query().Get("next"), a.h.cfg.Path, a.h.cfg.LogoutPath)
}

// localPath is the path and query of an absolute URL of this very origin, by the host the browser
// asked or the public one; "" for another origin. A relative URL comes back as it is.
func (a *appBackend) localPath(r *http.Request, link string) string {
	u, err := url.Parse(link)
	if err != nil || u.Host == "" {
		return link
	}
	host := telemetry.RequestFrom(r.Context()).Host
	public := a.h.deps.PublicURL
	own := strings.EqualFold(u.Host, r.Host) || host != "" && strings.EqualFold(u.Host, host) ||
		public != nil && strings.EqualFold(u.Host, public.Host)
	if !own || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return ""
	}
	return u.RequestURI()
}
