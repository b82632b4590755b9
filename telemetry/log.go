package telemetry

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/term"
)

// NewLogger writes to w at the given level (debug, info, warn, error) and in the given format: json,
// console, or auto, which is console when w is a terminal. Times are UTC with milliseconds; the console
// shows the local time of day instead. Any other level or format is an error, not a silent default.
//
// Audit lines are written at every level (see [LogAudit]).
func NewLogger(w io.Writer, level, format string) (zerolog.Logger, error) {
	lvl, ok := levels[level]
	if !ok {
		return zerolog.Nop(), fmt.Errorf("log.level: %q is no level; use debug, info, warn or error", level)
	}
	switch format {
	case "json":
	case "console", "auto":
		if format == "console" || isTerminal(w) {
			w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, NoColor: !isTerminal(w)}
		}
	default:
		return zerolog.Nop(), fmt.Errorf("log.format: %q is no format; use json, console or auto", format)
	}
	return zerolog.New(w).Level(lvl).Hook(timestamp{}), nil
}

// levels are those of the configuration. zerolog.ParseLevel takes more, such as "" and "disabled",
// which would silence the log.
var levels = map[string]zerolog.Level{
	"debug": zerolog.DebugLevel, "info": zerolog.InfoLevel, "warn": zerolog.WarnLevel, "error": zerolog.ErrorLevel,
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// timestamp adds the time without touching zerolog's package variables, which tests of several
// loggers in one process would fight over.
type timestamp struct{}

func (timestamp) Run(e *zerolog.Event, _ zerolog.Level, _ string) {
	e.Str(zerolog.TimestampFieldName, time.Now().UTC().Format("2006-01-02T15:04:05.000Z07:00"))
}

// Access is one request's line in the log.
type Access struct {
	ID       string // request id
	Client   string // client address
	Method   string
	Path     string // without query: queries carry secrets
	Status   int
	Bytes    int64 // of the answer's body
	Duration time.Duration
	Upstream time.Duration // until the application's header came; zero when it was not asked
	UserID   string
	Session  string // short session ID
	Rule     string // path of the rule that decided, or the name of the gateway's own endpoint
	Source   string // where the session was found; only "known" is written, it marks an outage
	Error    string // why it failed, for operators
	// GRPCStatus is the code with which a gRPC call ended; empty for other requests.
	GRPCStatus string
}

// LogAccess writes the line. Requests the gateway or the application failed are warnings.
func LogAccess(log *zerolog.Logger, a Access) {
	// The caller should not have left a query in; that this line leaks none is decided here all the same.
	a.Path, _, _ = strings.Cut(a.Path, "?")
	e := log.Info()
	if a.Status >= 500 {
		e = log.Warn()
	}
	e.Str("type", "access").Str("id", a.ID).Str("client", a.Client).Str("method", a.Method).Str("path", a.Path).
		Int("status", a.Status).Int64("bytes", a.Bytes).Float64("ms", milliseconds(a.Duration)).Str("rule", a.Rule)
	if a.Upstream > 0 {
		e.Float64("upstream_ms", milliseconds(a.Upstream))
	}
	optional(e, "user", a.UserID)
	optional(e, "session", a.Session)
	if a.Source == "known" {
		e.Str("session_source", a.Source)
	}
	optional(e, "grpc_status", a.GRPCStatus)
	optional(e, "error", a.Error)
	e.Msg("request")
}

// Event names an audit line.
type Event string

// The audit lines.
const (
	EventLogin       Event = "login"
	EventLoginFailed Event = "login_failed"
	EventLogout      Event = "logout"
	EventRevoke      Event = "revoke"
	EventLimit       Event = "limit"
	EventEviction    Event = "eviction"
	EventOutageBegin Event = "outage_begin"
	EventOutageEnd   Event = "outage_end"
	EventImport      Event = "import"    // a session has come over from the database to Redis
	EventMigration   Event = "migration" // the state of the migration has changed
	EventChange      Event = "change"    // the name, role or email of a user has changed in his sessions
	// EventAdminDenied: a request to the admin listener without its token.
	EventAdminDenied Event = "admin_denied"
)

// Audit is one line about something that matters to security. Empty fields are left out.
// It never holds a token, a password or a cookie.
type Audit struct {
	Event     Event
	RequestID string
	Client    string
	UserID    string
	Session   string // short session ID
	Backend   string
	// Account is what was typed as the account at a failed login. People type passwords there by
	// mistake, so it is left out unless that account exists.
	Account string
	// Reason is for operators: bad_credentials, address, superseded, ...
	Reason string
	Count  int
}

// LogAudit writes the line, whatever the log's level: who turns off access lines with level warn
// must not lose the trace of failed logins with them.
func LogAudit(log *zerolog.Logger, a Audit) {
	level := zerolog.InfoLevel
	if a.Event == EventOutageBegin {
		level = zerolog.WarnLevel
	}
	e := log.Log().Str(zerolog.LevelFieldName, level.String()).Str("type", "audit").Str("event", string(a.Event))
	optional(e, "id", a.RequestID)
	optional(e, "client", a.Client)
	optional(e, "user", a.UserID)
	optional(e, "session", a.Session)
	optional(e, "backend", a.Backend)
	optional(e, "account", a.Account)
	optional(e, "reason", a.Reason)
	if a.Count > 0 {
		e.Int("count", a.Count)
	}
	e.Msg(string(a.Event))
}

func optional(e *zerolog.Event, key, value string) {
	if value != "" {
		e.Str(key, value)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
