//go:build apps

package servers

import (
	"regexp"
	"strings"
	"testing"
)

// headerForm is a way to claim an identity: header lines, n standing for the forged one. Line breaks other than the one at
// the end are part of the attack.
type headerForm struct{ lines string }

// plain is what the gateway itself sends: every server understands it.
const plain = "X-User-Id: n"

var headerForms = func() (forms []headerForm) {
	add := func(lines ...string) {
		for _, l := range lines {
			forms = append(forms, headerForm{l})
		}
	}
	add(plain, "x-user-id: n", "X-USER-ID: n", "X-User-Id:n", "X-User-Id: \t n \t")
	// Separators that become the underscore of a variable's name.
	add("X_User_Id: n", "x_user_id: n", "X_USER_ID: n", "X-User_Id: n", "X_User-Id: n")
	for _, c := range ".~!#$%&'*+^`|[]/@,;=\"(){}<>? \t" {
		add(strings.ReplaceAll("X User Id", " ", string(c)) + ": n")
	}
	add("X.User-Id: n", "X[User-Id: n", "X User-Id: n", "X--User--Id: n", "X-User-Id-: n", "X-User-Id_: n", "-X-User-Id: n", "HTTP_X_USER_ID: n", "HTTP-X-User-Id: n")
	// More than one.
	add("X-User-Id: n\r\nX-User-Id: n", "X_User_Id: n\r\nX.User.Id: n", "X_User_Id: n\r\nX-User-Id: n", "X-User-Id:\r\nX_User_Id: n", "X-User-Id: n, 1", "X-User-Id: 1\r\nX-User-Id: n")
	// Hop by hop: the gateway's own must not get lost, or nobody's takes its place.
	add("Connection: X-User-Id\r\nX_User_Id: n", "Connection: keep-alive, x-user-id\r\nX-User-Id: n")
	// Lines that are not quite lines, names that are not quite names.
	add("X-User-Id : n", "X-User-Id\t: n", " X-User-Id: n", "\tX-User-Id: n", "X-User-Id\r: n", "X-User-Id\x00: n", "\x00X-User-Id: n", "X-\x00User-Id: n",
		"X-A: a\r\n X-User-Id: n", "X-A: a\nX-User-Id: n", "X-A: a\rX-User-Id: n", "X-A: a\x00\r\nX-User-Id: n", "X-A\nX-User-Id: n", "X-User-Id:\r\n n", "X-User-Id\r\n : n", ":X-User-Id: n", "X-User-Id;: n")
	// Characters that look like the hyphen or a letter, or are not seen.
	add("X\u00adUser\u00adId: n", "X\u2010User\u2010Id: n", "X\uff0dUser\uff0dId: n", "X\u2212User\u2212Id: n", "X\xadUser\xadId: n", "X\xa0User\xa0Id: n", "X-U\u0455er-Id: n", "\u0425-User-Id: n", "X-U\u017fer-Id: n",
		"X-User-\u0130d: n", "X-User-Id\u200b: n", "\ufeffX-User-Id: n", "%58-User-Id: n")
	return forms
}()

var saidID = regexp.MustCompile(`id=\[([^\]]*)\]`)

// tryHeaders is case H02: whatever a client sends, the application's way of reading X-User-Id gives the ID of the session, or
// nothing.
func (f *findings) tryHeaders(t *testing.T, g *gateway) {
	direct, through := f.app.client(), newClient(g.addr)
	defer direct.close()
	defer through.close()
	f.headers = make(map[headerForm]bool)
	passed := 0
	for _, form := range headerForms {
		lines := strings.NewReplacer(" n", " "+forgedID, ":n", ":"+forgedID).Replace(form.lines) + "\r\n"
		straight := saidID.FindStringSubmatch(direct.get(f.app.whoami, lines).raw)
		f.headers[form] = straight != nil && strings.Contains(straight[1], forgedID)
		for _, caller := range []struct{ who, cookie, id string }{{"a stranger", "", ""}, {"a user", g.user, userID}} {
			for _, header := range []string{caller.cookie + lines, lines + caller.cookie} {
				got := through.get(f.app.whoami, header)
				id := saidID.FindStringSubmatch(got.raw)
				switch {
				case strings.Contains(got.raw, forgedID):
					t.Errorf("%s with %q is %s to the application:\n%s", caller.who, form.lines, forgedID, got.raw)
				case got.status == 400 && id == nil: // refused
				case got.status == 200 && id != nil && id[1] == caller.id:
					passed++
				case got.status == 200 && id != nil && id[1] == "" && (strings.HasPrefix(header, lines) || strings.ContainsAny(form.lines[:1], " \t")):
					// A line may take the cookie's with it, or be a continuation of it: then it is nobody.
				default:
					t.Errorf("%s with %q: the application says %q", caller.who, form.lines, got.raw)
				}
			}
		}
	}
	if !f.headers[headerForm{plain}] {
		t.Error("past the gateway, X-User-Id is not read: this shows nothing")
	}
	if passed < len(headerForms) {
		t.Errorf("only %d of %d requests got through with the right identity", passed, 4*len(headerForms))
	}
}
