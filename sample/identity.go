package sample

import (
	"net/http"
	"net/url"
	"strconv"
)

// caller is who a request comes from.
type caller struct {
	ID    string
	Email string
	Name  string
	Role  string
	// Via says what the application goes by: "header" or "cookie"; empty for nobody.
	Via string
}

// SignedIn reports whether anybody is logged in.
func (c caller) SignedIn() bool { return c.Via != "" }

// caller reads who is calling. This is all an application has to do behind the gateway; in PHP it is
// $_SERVER['HTTP_X_USER_ID'], in Django request.META['HTTP_X_USER_ID'], in Rails
// request.headers['X-User-Id'], in Express req.get('x-user-id'), in Spring
// @RequestHeader("X-User-Id"). Three things matter:
//
//   - no X-User-Id means nobody is logged in; there is no header for an attribute that is empty;
//   - values are percent-encoded UTF-8 (rawurldecode, urllib.parse.unquote, decodeURIComponent);
//   - the headers may be believed only if nobody reaches the application past the gateway.
//
// An application that still has sessions of its own looks at those when the header is absent.
func (a *app) caller(r *http.Request) caller {
	if a.opts.TrustHeaders && r.Header.Get("X-User-Id") != "" {
		return caller{
			ID:    identityHeader(r, "X-User-Id"),
			Email: identityHeader(r, "X-User-Email"),
			Name:  identityHeader(r, "X-User-Name"),
			Role:  identityHeader(r, "X-User-Role"),
			Via:   "header",
		}
	}
	return a.ownCaller(r)
}

// ownCaller goes by the application's own cookie alone.
func (a *app) ownCaller(r *http.Request) caller {
	s := a.sessions.find(r)
	if s == nil || s.user == nil {
		return caller{}
	}
	return caller{ID: strconv.FormatInt(s.user.ID, 10), Email: s.user.Email, Name: s.user.Name, Role: s.user.Role, Via: "cookie"}
}

func identityHeader(r *http.Request, name string) string {
	raw := r.Header.Get(name)
	if text, err := url.PathUnescape(raw); err == nil {
		return text
	}
	return raw
}
