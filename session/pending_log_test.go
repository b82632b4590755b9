package session

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"unicode"

	"github.com/rs/zerolog"
)

// dash is a session ID whose text begins with a dash.
var dash = ID{0xf8}

// told is what the log has of a revocation, in each of its formats, as it stands in the file.
func told(r revocation, state revocationState) map[string]string {
	var plain, console bytes.Buffer
	for _, log := range []zerolog.Logger{zerolog.New(&plain), zerolog.New(zerolog.ConsoleWriter{Out: &console, NoColor: true})} {
		r.tell(&log, state)
	}
	return map[string]string{"json": plain.String(), "console": console.String()}
}

// copied is what a person copies from the line: what stands between the quotes, as it stands there.
func copied(line string) (command string, ok bool) {
	for _, before := range []string{`"command":"`, `command="`} {
		if _, rest, found := strings.Cut(line, before); found {
			command, _, _ = strings.Cut(rest, `"`)
			return command, true
		}
	}
	return "", strings.Contains(line, "command=") || strings.Contains(line, `"command"`)
}

// words are what a shell makes of a text.
func words(t *testing.T, text string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "sh", "-c", `for word in `+text+`; do printf '%s\0' "$word"; done`).Output()
	if err != nil {
		t.Errorf("%s: %v", text, err)
	}
	return string(out)
}

// The command is copied out of the raw line into a shell: there it is what was meant, and no operand is a flag.
func TestRevocationCommand(t *testing.T) {
	t.Parallel()
	if !strings.HasPrefix(dash.String(), "-") {
		t.Fatalf("%s begins with no dash", dash)
	}
	for _, c := range []struct {
		r    revocation
		want []string
	}{
		{revocation{key: Key{ID: ID{1}}}, []string{"revoke", ID{1}.String()}},
		{revocation{key: Key{ID: ID{1}}, userID: "7"}, []string{"revoke", "--user=7", ID{1}.String()}},
		{revocation{key: Key{ID: dash}, userID: "-v"}, []string{"revoke", "--user=-v", "--", dash.String()}},
		{revocation{all: true, userID: "ada+b@example.com"}, []string{"revoke-user", "ada+b@example.com"}},
		{revocation{all: true, userID: "auth0:a/b_c.9"}, []string{"revoke-user", "auth0:a/b_c.9"}},
		{revocation{all: true, userID: "--yes", except: []ID{dash, {2}}}, []string{"revoke-user", "--except=" + dash.String(), "--except=" + ID{2}.String(), "--", "--yes"}},
	} {
		for format, line := range told(c.r, revocationWaits) {
			command, _ := copied(line)
			if got, want := words(t, command), "gatehouse\x00sessions\x00"+strings.Join(c.want, "\x00")+"\x00"; got != want {
				t.Errorf("%s: %s: the shell sees %q, want %q", format, line, got, want)
			}
		}
	}
}

// What a layer between the log and the shell would escape makes no command: escaped twice, quotes are no quotes any more.
func TestRevocationWithoutCommand(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"x';touch /tmp/pwned;'", `x"y`, `x\y`, "a b", "it's me", "$(id)", "`id`", "a;b", "a&b", "a|b", "a<b", "~root", "a*", "a?", "#a", "!!", "a\nb", "Zoë", "a\u009bb", "",
	} {
		for _, all := range []bool{true, false} {
			if id == "" && !all {
				continue // an orphan: nobody's
			}
			r := revocation{key: Key{ID: ID{1}}, userID: id, all: all}
			for _, state := range []revocationState{revocationWaits, revocationNotRetried, revocationGivenUp} {
				for format, line := range told(r, state) {
					if command, ok := copied(line); ok {
						t.Errorf("%s, user %q: says to run %s", format, id, command)
					}
					if !strings.Contains(line, "the user of this line") || strings.Contains(line, "un the command") {
						t.Errorf("%s, user %q: does not tell what to do: %s", format, id, line)
					}
				}
			}
			for format, line := range told(r, revocationConfirmed) {
				if strings.Contains(line, "the user of this line") {
					t.Errorf("%s: there is nothing to do any more: %s", format, line)
				}
			}
		}
	}
}

// A log is read in a terminal: a user ID must not turn, hide or colour what stands around it. A program still reads the ID itself.
func TestRevocationOfAnOddUser(t *testing.T) {
	t.Parallel()
	for _, id := range []string{
		"a\u009b31mb\u202eb\u2028", "\x1b[31m\x7f\r\n\t", "\u200b\u2066x\u2069\ufeff\u00a0", "\U000e0041\U0001f600", `Zoë "\u009b" <&>`, `back\slash`, "Жанна", "\ue000\uffff",
	} {
		r := revocation{all: true, userID: id}
		for format, line := range told(r, revocationWaits) {
			if i := strings.IndexFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return !unicode.IsPrint(c) }); i >= 0 {
				t.Errorf("%s: %q raw in %q", format, line[i:i+4], line)
			}
			if format != "json" {
				continue
			}
			var fields struct{ User string }
			if err := json.Unmarshal([]byte(line), &fields); err != nil || fields.User != id {
				t.Errorf("%q reads as %q, %v", id, fields.User, err)
			}
		}
	}
	if line := told(revocation{all: true, userID: "Zoë"}, revocationWaits)["json"]; !strings.Contains(line, `"user":"Zoë"`) {
		t.Errorf("letters are no danger: %s", line)
	}
}

func FuzzRevocationLine(f *testing.F) {
	for _, id := range []string{"7", "x';id;'", "a\u009b\u202e", `\`, "\xff"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		for format, line := range told(revocation{all: true, userID: id}, revocationGivenUp) {
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(c rune) bool { return !unicode.IsPrint(c) }) {
				t.Errorf("%s: %q", format, line)
			}
			if command, ok := copied(line); ok && format == "json" && (!strings.HasSuffix(command, " "+id) || strings.ContainsAny(id, "'\"\\$`;&|<>()*?[]#~!{} \t\n")) {
				t.Errorf("%s, user %q: %s", format, id, command)
			}
		}
	})
}
