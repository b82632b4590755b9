package telemetry_test

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/telemetry"
)

// logger writes JSON lines into the buffer.
func logger(t *testing.T, level string) (*zerolog.Logger, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	log, err := telemetry.NewLogger(&out, level, "json")
	if err != nil {
		t.Fatal(err)
	}
	return &log, &out
}

// line takes the one JSON line out of the buffer; its time is checked and removed.
func line(t *testing.T, out *bytes.Buffer) map[string]any {
	t.Helper()
	text := out.String()
	out.Reset()
	if strings.Count(text, "\n") != 1 || !strings.HasSuffix(text, "\n") {
		t.Fatalf("not one line: %q", text)
	}
	var fields map[string]any
	if err := json.Unmarshal([]byte(text), &fields); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	stamp, _ := fields["time"].(string)
	at, err := time.Parse("2006-01-02T15:04:05.000Z", stamp)
	if err != nil || time.Since(at).Abs() > time.Minute {
		t.Errorf("time %q is not now in UTC with milliseconds: %v", stamp, err)
	}
	delete(fields, "time")
	return fields
}

func same(t *testing.T, got, want map[string]any) {
	t.Helper()
	for _, key := range slices.Sorted(maps.Keys(got)) {
		if _, ok := want[key]; !ok {
			t.Errorf("unexpected %s: %v", key, got[key])
		}
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %v, want %v", key, got[key], want[key])
		}
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]string{"debug": "diwe", "info": "iwe", "warn": "we", "error": "e"} {
		log, out := logger(t, level)
		log.Debug().Msg("d")
		log.Info().Msg("i")
		log.Warn().Msg("w")
		log.Error().Msg("e")
		got := ""
		for l := range strings.Lines(out.String()) {
			var fields struct{ Message string }
			if err := json.Unmarshal([]byte(l), &fields); err != nil {
				t.Fatal(err)
			}
			got += fields.Message
		}
		if got != want {
			t.Errorf("level %s writes %q, want %q", level, got, want)
		}
	}
}

func TestBadSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ level, format, want string }{
		{"loud", "json", `log.level: "loud"`}, {"", "json", `log.level: ""`}, {"disabled", "json", "log.level"}, {"INFO", "json", "log.level"},
		{"info", "yaml", `log.format: "yaml"`}, {"info", "", `log.format: ""`},
	} {
		if _, err := telemetry.NewLogger(io.Discard, c.level, c.format); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("level %q, format %q: %v", c.level, c.format, err)
		}
	}
}

func TestFormats(t *testing.T) {
	t.Parallel()
	file, err := os.OpenFile(filepath.Join(t.TempDir(), "log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		format string
		json   bool
	}{{"json", true}, {"console", false}, {"auto", true}} { // a file is no terminal
		if err := file.Truncate(0); err != nil {
			t.Fatal(err)
		}
		log, err := telemetry.NewLogger(file, "info", c.format)
		if err != nil {
			t.Fatal(err)
		}
		log.Info().Str("key", "a\x1b[31mb\n").Msg("hello")
		text, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		if json.Valid(text) != c.json || !strings.Contains(string(text), "hello") {
			t.Errorf("%s: %q", c.format, text)
		}
		// A request must not be able to paint on the operator's terminal or to fake a line.
		if bytes.ContainsRune(text, 0x1b) || bytes.Count(text, []byte("\n")) != 1 {
			t.Errorf("%s lets control characters through: %q", c.format, text)
		}
	}
}

func TestAccessLine(t *testing.T) {
	t.Parallel()
	log, out := logger(t, "info")
	telemetry.LogAccess(log, telemetry.Access{
		ID: "r1", Client: "192.0.2.7", Method: "GET", Path: "/account", Status: 200, Bytes: 1234,
		Duration: 12345 * time.Microsecond, Upstream: 11 * time.Millisecond, UserID: "42", Session: "abcdefgh",
		Rule: "/account", Source: "known", Error: "why", GRPCStatus: "16",
	})
	same(t, line(t, out), map[string]any{
		"level": "info", "message": "request", "type": "access", "id": "r1", "client": "192.0.2.7", "method": "GET",
		"path": "/account", "status": 200.0, "bytes": 1234.0, "ms": 12.345, "upstream_ms": 11.0, "user": "42",
		"session": "abcdefgh", "rule": "/account", "session_source": "known", "error": "why", "grpc_status": "16",
	})

	telemetry.LogAccess(log, telemetry.Access{ID: "r2", Client: "::1", Method: "POST", Path: "/x", Status: 404, Rule: "default", Source: "cache"})
	same(t, line(t, out), map[string]any{
		"level": "info", "message": "request", "type": "access", "id": "r2", "client": "::1", "method": "POST",
		"path": "/x", "status": 404.0, "bytes": 0.0, "ms": 0.0, "rule": "default",
	})
}

func TestAccessLevel(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{101: "info", 200: "info", 302: "info", 404: "info", 499: "info", 500: "warn", 502: "warn", 599: "warn"} {
		log, out := logger(t, "info")
		telemetry.LogAccess(log, telemetry.Access{Status: status})
		if got := line(t, out)["level"]; got != want {
			t.Errorf("%d is logged as %v, want %s", status, got, want)
		}
	}
	log, out := logger(t, "warn")
	telemetry.LogAccess(log, telemetry.Access{Status: 200})
	if out.Len() != 0 {
		t.Errorf("level warn writes %q", out)
	}
}

func TestAccessLineHasNoQuery(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/reset?token=secret": "/reset", "/?": "/", "?secret": "", "/a": "/a", "/a?b?secret": "/a", "/a%3Fb": "/a%3Fb",
	} {
		log, out := logger(t, "info")
		telemetry.LogAccess(log, telemetry.Access{Path: path})
		if strings.Contains(out.String(), "secret") {
			t.Errorf("%q leaks: %s", path, out)
		}
		if got := line(t, out)["path"]; got != want {
			t.Errorf("%q is logged as %q", path, got)
		}
	}
}

func TestAuditLine(t *testing.T) {
	t.Parallel()
	log, out := logger(t, "info")
	telemetry.LogAudit(log, telemetry.Audit{Event: telemetry.EventEviction, RequestID: "r1", Client: "192.0.2.7", UserID: "42",
		Session: "abcdefgh", Backend: "file", Account: "ann@example.com", Reason: "max_per_user", Count: 2})
	same(t, line(t, out), map[string]any{
		"level": "info", "message": "eviction", "type": "audit", "event": "eviction", "id": "r1", "client": "192.0.2.7",
		"user": "42", "session": "abcdefgh", "backend": "file", "account": "ann@example.com", "reason": "max_per_user", "count": 2.0,
	})

	names := map[telemetry.Event]string{
		telemetry.EventLogin: "login", telemetry.EventLoginFailed: "login_failed", telemetry.EventLogout: "logout",
		telemetry.EventRevoke: "revoke", telemetry.EventLimit: "limit", telemetry.EventEviction: "eviction",
		telemetry.EventOutageBegin: "outage_begin", telemetry.EventOutageEnd: "outage_end",
		telemetry.EventImport: "import", telemetry.EventMigration: "migration",
		telemetry.EventChange: "change", telemetry.EventAdminDenied: "admin_denied",
	}
	for event, name := range names {
		level := "info"
		if event == telemetry.EventOutageBegin {
			level = "warn"
		}
		telemetry.LogAudit(log, telemetry.Audit{Event: event})
		same(t, line(t, out), map[string]any{"level": level, "message": name, "type": "audit", "event": name})
	}
}

// TestAuditAtEveryLevel: turning the access lines off must not turn the audit lines off.
func TestAuditAtEveryLevel(t *testing.T) {
	t.Parallel()
	for _, level := range []string{"debug", "info", "warn", "error"} {
		log, out := logger(t, level)
		telemetry.LogAudit(log, telemetry.Audit{Event: telemetry.EventLoginFailed, Client: "192.0.2.7"})
		same(t, line(t, out), map[string]any{"level": "info", "message": "login_failed", "type": "audit", "event": "login_failed", "client": "192.0.2.7"})
	}
	nop := zerolog.Nop()
	telemetry.LogAudit(&nop, telemetry.Audit{Event: telemetry.EventLogin}) // and none where there is no log at all
}

func TestFieldsCannotBeFaked(t *testing.T) {
	t.Parallel()
	log, out := logger(t, "info")
	evil := "x\",\"event\":\"login\"}\n{\"fake\":\"1"
	telemetry.LogAudit(log, telemetry.Audit{Event: telemetry.EventLoginFailed, Account: evil})
	same(t, line(t, out), map[string]any{"level": "info", "message": "login_failed", "type": "audit", "event": "login_failed", "account": evil})
	telemetry.LogAccess(log, telemetry.Access{Path: evil, Method: evil, Rule: evil, ID: evil, Client: evil})
	fields := line(t, out)
	for _, key := range []string{"path", "method", "rule", "id", "client"} {
		if fields[key] != evil {
			t.Errorf("%s: %q", key, fields[key])
		}
	}
}
