package pages_test

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/telemetry"
)

// folder makes a folder of templates: name, text, name, text.
func folder(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		if err := os.WriteFile(filepath.Join(dir, files[i]), []byte(files[i+1]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const ownLogin = `<!doctype html><html lang="de"><head><title>Anmelden</title><style>p { color: #123 }</style></head>
<body><h1>Anmelden</h1><p>{{.Message}}</p><form method="POST" action="{{.Action}}"><input name="account"><input name="password">
<input name="next" value="{{.Next}}"></form></body></html>`

func TestReplacedTemplates(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []string
		login string // text the login page holds
		out   string // text the logout page holds
	}{
		{"none", nil, "Password", "Log out"},
		{"a whole page", []string{"login.html", ownLogin}, "Anmelden", "Log out"},
		{"the style", []string{"style.css", "h1 { color: #123456 }\r\n"}, "color: #123456", "color: #123456"},
		{"the frame", []string{"layout.html", `<html><title>{{template "title" .}}</title><style>{{.Style}}</style><main>{{template "content" .}}</main>Imprint`}, "Imprint", "Imprint"},
		{"one page in the frame", []string{"logout.html", `{{define "title"}}T{{end}}{{define "content"}}Bye{{end}}{{template "layout.html" .}}`}, "Password", "Bye"},
		{"hidden files", []string{".keep", "", "..data", "x"}, "Password", "Log out"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newPages(t, config.Pages{Templates: folder(t, c.files...)})
			login, out := httptest.NewRecorder(), httptest.NewRecorder()
			p.Login(login, request("GET", "/login"), 200, pages.LoginView{Action: "/login"})
			p.Logout(out, request("GET", "/logout"), 200, pages.LogoutView{Action: "/logout", User: "Ann"})
			if !strings.Contains(login.Body.String(), c.login) || !strings.Contains(out.Body.String(), c.out) {
				t.Errorf("login: %s\nlogout: %s", login.Body, out.Body)
			}
			// The policy must still fit, or the page would stand there bare.
			checkHeaders(t, login.Header(), parse(t, login.Body))
			checkHeaders(t, out.Header(), parse(t, out.Body))
		})
	}
}

func TestTemplateErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		files []string
		want  []string // parts of the error
	}{
		{"does not parse", []string{"login.html", "a\n\n{{if}}"}, []string{"login.html:3", "missing value for if"}},
		{"unclosed", []string{"logout.html", "a\n{{if .User}}"}, []string{"logout.html:2", "unexpected EOF"}},
		{"unknown field", []string{"problem.html", "a\n{{.Oops}}"}, []string{"problem.html:2", "Oops"}},
		{"unknown template", []string{"logout.html", "a\n{{template \"nope\" .}}"}, []string{"logout.html:2", "nope"}},
		{"frame", []string{"layout.html", "{{template \"content\" .}}\n{{.Oops}}"}, []string{"layout.html:2", "Oops"}},
		{"ambiguous escaping", []string{"logout.html", "\n<a href=\"{{if .User}}\"{{end}}>"}, []string{"logout.html:2", "{{if}} branches"}},
		{"unknown file", []string{"logn.html", ""}, []string{"logn.html", "login.html", "logout.html", "problem.html", "layout.html", "style.css"}},
		{"two unknown files", []string{"a.html", "", "b.html", ""}, []string{"a.html", "b.html"}},
		{"script", []string{"logout.html", "<script>x</script>"}, []string{"logout.html", "<script>", "Content-Security-Policy"}},
		{"style attribute", []string{"problem.html", "<p style='color:red'>"}, []string{"problem.html", "attribute style of <p>"}},
		{"handler", []string{"layout.html", "<body onload=x>"}, []string{"attribute onload of <body>"}},
		{"outside style", []string{"layout.html", "<link rel=stylesheet href=/x.css>"}, []string{"<link>"}},
		{"no form", []string{"login.html", "<p>closed</p>"}, []string{"login.html", "<form method=\"post\">"}},
		{"form by GET", []string{"login.html", strings.Replace(ownLogin, "POST", "get", 1)}, []string{"method=\"post\""}},
		{"no password", []string{"login.html", strings.Replace(ownLogin, "\"password\"", "\"pass\"", 1)}, []string{"<input name=\"password\">"}},
		{"loses next", []string{"login.html", strings.Replace(ownLogin, "\"next\"", "\"to\"", 1)}, []string{"<input name=\"next\">"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := pages.New(config.Pages{Templates: folder(t, c.files...)})
			if err == nil {
				t.Fatal("accepted")
			}
			for _, part := range append(c.want, "pages.templates: ") {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q does not say %q", err, part)
				}
			}
		})
	}
}

func TestTemplateFolderThatIsNone(t *testing.T) {
	t.Parallel()
	for name, path := range map[string]string{
		"missing": filepath.Join(t.TempDir(), "missing"),
		"a file":  filepath.Join(folder(t, "x", ""), "x"),
	} {
		if _, err := pages.New(config.Pages{Templates: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	sub := t.TempDir()
	if err := os.Mkdir(filepath.Join(sub, "login.html"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := pages.New(config.Pages{Templates: sub}); err == nil || !strings.Contains(err.Error(), "login.html") {
		t.Errorf("a folder of a page's name: %v", err)
	}
}

// TestFailureWhileRendering: a replaced template can fail with data its trial run did not have. The
// status must be right all the same, no half page may go out, and the operator must learn of it.
func TestFailureWhileRendering(t *testing.T) {
	t.Parallel()
	p := newPages(t, config.Pages{Templates: folder(t, "problem.html", `<h1>half a page</h1>{{if eq .Status 418}}{{index .Heading 99}}{{end}}`)})
	w, r := httptest.NewRecorder(), request("GET", "/")
	p.Problem(w, r, pages.Problem{Status: 418})
	if w.Code != 418 || w.Body.String() != "I'm a teapot\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if got := telemetry.RequestFrom(r.Context()).Error; !strings.Contains(got, "problem.html:1") {
		t.Errorf("the access line's error is %q", got)
	}
}
