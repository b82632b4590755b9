package command

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode"

	"gatehouse/session"
)

// hostile is what a stranger may have put into a name or a user agent: it would clear the screen, rename the
// window, turn the line around, or begin a line of its own.
const hostile = "a\x1b[2J\x1b]0;x\x07b\u009b31mc\u202ed\r\ne\tf\x7fg\u200bh\U000e0041i\\j é 日本"

func TestPrintable(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                 "",
		"Jösé 日本":          "Jösé 日本",
		"a\x1b[2Jb":        `a\x1b[2Jb`,
		"a\u009b31m":       `a\u009b31m`,
		"a\u202eb":         `a\u202eb`,
		"a\r\n\tb\x00":     `a\x0d\x0a\x09b\x00`,
		"a\x7fb":           `a\x7fb`,
		"a\xffb\xc2":       `a\xffb\xc2`,
		"a\U000e0041b":     `a\U000e0041b`,
		"a\ufffdb":         "a\ufffdb", // as it was sent, and not a broken byte
		`C:\x1b is a text`: `C:\x1b is a text`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q is printed as %q, want %q", text, got, want)
		}
	}
}

func FuzzPrintable(f *testing.F) {
	f.Add(hostile)
	f.Add("\xff\xfe")
	f.Fuzz(func(t *testing.T, text string) {
		harmless(t, printable(text), "")
		if out := cell(text, 10); out == "" || len([]rune(out)) > 10 {
			t.Errorf("a cell of %q", out)
		}
		var buf bytes.Buffer
		if err := writeJSON(&buf, map[string]string{"x": text}, ""); err != nil {
			t.Fatal(err)
		}
		harmless(t, buf.String(), "\n")
		var back map[string]string
		if err := json.Unmarshal(buf.Bytes(), &back); err != nil || back["x"] != strings.ToValidUTF8(text, "\ufffd") && strings.ToValidUTF8(text, "") == text {
			t.Errorf("%q came back as %q, %v", text, back["x"], err)
		}
	})
}

// harmless fails when there is anything a terminal would obey, but for what is allowed.
func harmless(t *testing.T, text, allowed string) {
	t.Helper()
	for _, r := range text {
		if !unicode.IsPrint(r) && !strings.ContainsRune(allowed, r) {
			t.Errorf("%U in %q", r, text)
		}
	}
}

func hostileView() session.View {
	now := time.Now()
	return session.View{
		ID: session.ID{1}.String(), UserID: hostile, Email: hostile, Name: hostile, Role: hostile, Backend: hostile, IP: hostile, UserAgent: hostile,
		CreatedAt: now, LastAccessed: now, ExpiresAt: now, Store: session.FromStore,
	}
}

// Nothing a stranger has sent reaches a terminal as a control character, and no table gets a line from it.
func TestTablesAreHarmless(t *testing.T) {
	t.Parallel()
	v, n := hostileView(), 3.5
	for name, tt := range map[string]struct {
		print func(out *bytes.Buffer) error
		lines int
	}{
		"list":    {func(out *bytes.Buffer) error { return printSessions(out, []session.View{v, v}, hostile) }, 3},
		"no list": {func(out *bytes.Buffer) error { return printSessions(out, nil, hostile) }, 1},
		"show":    {func(out *bytes.Buffer) error { return printSession(out, v) }, 12},
		"stats": {func(out *bytes.Buffer) error {
			return printStats(out, &session.Stats{Sessions: 1, Users: 1, Oldest: &v, Corrupt: 1, Memory: session.Memory{PerSession: &n}}, "all")
		}, 7},
		"audit": {func(out *bytes.Buffer) error {
			return printAudit(out, &session.AuditReport{Problems: 1, Kinds: map[session.Kind]int64{session.KindDead: 1},
				Findings: []session.Finding{{Kind: session.KindDead, Key: hostile, UserID: hostile, What: hostile, Hint: "x"}}}, "all", true)
		}, 8},
		"JSON": {func(out *bytes.Buffer) error { return writeJSON(out, v, "") }, 1},
	} {
		var out bytes.Buffer
		if err := tt.print(&out); err != nil {
			t.Fatal(err)
		}
		harmless(t, out.String(), "\n")
		if got := strings.Count(out.String(), "\n"); got != tt.lines {
			t.Errorf("%s: %d lines, want %d:\n%s", name, got, tt.lines, out.String())
		}
	}
}

func TestStatsSayWhatIsUnknown(t *testing.T) {
	t.Parallel()
	used, limit, each := int64(3<<20), int64(1<<30), 812.4
	for name, tt := range map[string]struct {
		memory session.Memory
		want   []string
	}{
		"nothing known": {session.Memory{}, []string{"memory       unknown", "per session  unknown"}},
		"no limit":      {session.Memory{Used: &used, Max: new(int64)}, []string{"3.0 MiB in all of Redis, no limit"}},
		"all":           {session.Memory{Used: &used, Max: &limit, PerSession: &each, Sampled: 200}, []string{"3.0 MiB in all of Redis, of 1.0 GiB", "812 B, index included (the mean of 200)"}},
	} {
		var out bytes.Buffer
		if err := printStats(&out, &session.Stats{Memory: tt.memory}, "all sessions"); err != nil {
			t.Fatal(err)
		}
		for _, want := range tt.want {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%s: no %q in\n%s", name, want, out.String())
			}
		}
	}
}
