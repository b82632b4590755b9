package config

import (
	"mime"
	"strings"
)

// login checks how people log in and out.
func (k *checker) login(c *Config) {
	l := c.Login
	k.exactPath("login.path", l.Path, "/login")
	k.exactPath("login.logout_path", l.LogoutPath, "/logout")
	if l.Path != "" && foldPath(strings.TrimRight(l.Path, "/")) == foldPath(strings.TrimRight(l.LogoutPath, "/")) {
		k.add("login.logout_path", faultf("choose another path", "%q is also login.path", l.LogoutPath))
	}
	k.add("login.backend", oneOf(l.Backend, BackendFile, BackendApp, BackendDatabase))
	if l.Backend == BackendFile && l.File.Path == "" {
		k.add("login.file.path", faultf("write the path of the user file, such as users.yaml", "is missing"))
	}
	k.refresh("login.file.refresh", l.File.Refresh)
	k.rate("login.limits.per_address", l.Limits.PerAddress, "30/m")
	k.rate("login.limits.per_account", l.Limits.PerAccount, "10/m")
	k.positive("login.limits.burst", int64(l.Limits.Burst), "10")
	k.positive("login.limits.max_concurrent_hashes", int64(l.Limits.MaxConcurrentHashes), "2")
	k.loginDatabase(l.Database, l.Backend == BackendDatabase)
	k.success(l.App.Success, l.Backend == BackendApp)
	k.identity(l.App.Identity, l.Backend == BackendApp)
	k.vault(l.App.Vault, c.Session.Cookie.Name)
	k.exchange(l)
}

// exactPath checks a path that is compared as a whole, so it may end with a slash. Only one
// spelling is a login (case I01).
func (k *checker) exactPath(key, p, example string) {
	f := checkPattern(p)
	if f != nil {
		f = faultf("write the exact path, such as "+example, "%q is not a plain path", p)
	} else if f = checkPath(p, example); f == nil && p == "/" {
		f = faultf("write a path of its own, such as "+example, `"/" is the application's first page`)
	}
	k.add(key, f)
}

func (k *checker) rate(key string, r Rate, example string) {
	if r.Events < 1 || r.Per <= 0 {
		k.add(key, faultf("write how many per s, m or h, such as "+example, "%s would let nothing through", r))
	}
}

// success checks the marks of a login. Without any, every answer of the application, also a
// failed login's, would make a session (case I03).
func (k *checker) success(s AppSuccess, required bool) {
	const key = "login.app.success"
	if required && len(s.Status) == 0 && len(s.Location) == 0 && s.ContentType == "" && s.Header == "" && s.JSONField == "" {
		k.add(key, faultf("set at least one of status, location, content_type, header or json_field, such as status: [302] with location: [\"/dashboard\"]",
			"names no mark, so every answer would count as a login"))
	}
	for i, status := range s.Status {
		if status < 200 || status > 599 {
			k.add(entry(key+".status", i), faultf("write a status such as 302", "%d is not the status of an answer", status))
		}
	}
	for i, location := range s.Location {
		if strings.TrimSpace(location) == "" {
			k.add(entry(key+".location", i), faultf(`write the exact Location, such as "/dashboard"`, "is empty"))
		}
	}
	if s.ContentType != "" {
		k.add(key+".content_type", checkMediaType(s.ContentType))
	}
	if name, _, _ := strings.Cut(s.Header, ":"); s.Header != "" && !token(name) {
		k.add(key+".header", faultf(`write "Name" or "Name: value"`, "%q does not begin with a header name", s.Header))
	}
	if name, _, _ := strings.Cut(s.JSONField, "="); s.JSONField != "" {
		k.add(key+".json_field", checkJSONField(name))
	}
}

func checkMediaType(s string) *fault {
	media, params, err := mime.ParseMediaType(s)
	switch {
	case err != nil || strings.Count(media, "/") != 1:
		return faultf("write a type such as application/json", "%q is not a content type", s)
	case len(params) > 0:
		return faultf("write "+media, "%q has parameters, which are not compared", s)
	}
	return nil
}

func checkJSONField(s string) *fault {
	for step := range strings.SplitSeq(s, ".") {
		if step == "" || strings.TrimSpace(step) != step {
			return faultf("write names with dots between, such as user.id", "%q is not the name of a JSON field", s)
		}
	}
	return nil
}

// identity checks where the application tells who has logged in.
func (k *checker) identity(id AppIdentity, required bool) {
	const key = "login.app.identity"
	if id.From != "" || required {
		k.add(key+".from", oneOf(id.From, FromHeader, FromJSON, FromWhoami))
	}
	if required && id.Fields.UserID == "" {
		k.add(key+".fields.userId", faultf("name the field with the user's id, such as userId: id", "is missing"))
	}
	if id.WhoamiPath != "" || required && id.From == FromWhoami {
		// The query is the application's business, only the path has to be unambiguous.
		path, _, _ := strings.Cut(id.WhoamiPath, "?")
		k.exactPath(key+".whoami_path", path, "/api/me")
	}
	for _, f := range []struct{ name, field string }{
		{"userId", id.Fields.UserID}, {"email", id.Fields.Email}, {"name", id.Fields.Name},
		{"role", id.Fields.Role}, {"emailVerified", id.Fields.EmailVerified},
	} {
		switch {
		case f.field == "":
		case id.From == FromHeader && !token(f.field):
			k.add(key+".fields."+f.name, faultf("write a header name such as X-User", "%q is not a header name", f.field))
		case id.From != FromHeader:
			k.add(key+".fields."+f.name, checkJSONField(f.field))
		}
	}
}

// vault checks the names of the cookies that are kept.
func (k *checker) vault(v Vault, own string) {
	for i, name := range v.Names {
		key := entry("login.app.vault", i)
		switch {
		case !token(name):
			k.add(key, faultf("write the name of a cookie", "%q is not a cookie name", name))
		case name == vaultHTTPOnly || name == vaultNone:
			k.add(key, faultf("write vault: "+name+" without a list, or cookie names", "%q stands for itself", name))
		case name == own:
			k.add(key, faultf("name the application's cookies", "%q is the gateway's own cookie", name))
		}
	}
}

// exchange checks the rest of what is said to the application at login.
func (k *checker) exchange(l Login) {
	if l.Backend == BackendApp && len(l.App.AccountFields) == 0 {
		k.add("login.app.account_fields", faultf("name the form's field of the account, or delete the line for the default",
			"is empty, nothing would limit the guesses against one account"))
	}
	for i, name := range l.App.AccountFields {
		if strings.TrimSpace(name) == "" {
			k.add(entry("login.app.account_fields", i), faultf("name a form field or delete the entry", "is empty"))
		}
	}
	for i, p := range l.App.CompletionPaths {
		key := entry("login.app.completion_paths", i)
		if p == l.LogoutPath || p == l.Path {
			k.add(key, faultf("delete it", "%q is already login.path or login.logout_path", p))
			continue
		}
		k.exactPath(key, p, "/login/code")
	}
	k.lasting("login.app.timeout", l.App.Timeout, "15s")
	if l.App.MaxResponse <= 0 {
		k.add("login.app.max_response", faultf("write a size such as 1MiB", "%d lets no answer through", l.App.MaxResponse))
	}
}
