package session

import (
	"strings"

	"github.com/rs/zerolog"
)

// revocationState is what has become of a revocation that could not be confirmed at once.
type revocationState struct {
	name  string
	level zerolog.Level
	text  string
}

// The states, and what the operator is told. While one waits or is left over, somebody whose session should have
// ended may be logged in at other replicas, or here after a restart.
var (
	revocationWaits = revocationState{"waiting", zerolog.WarnLevel,
		"Redis has not confirmed a revocation: this replica refuses the session and tries again until it is confirmed. Should this process be killed before that, run the command when Redis is back"}
	revocationConfirmed = revocationState{"confirmed", zerolog.InfoLevel,
		"Redis has confirmed a revocation that was waiting"}
	revocationOver = revocationState{"over", zerolog.InfoLevel,
		"a revocation that was waiting has become needless: its sessions would have expired by now"}
	revocationNotRetried = revocationState{"not_retried", zerolog.ErrorLevel,
		"too many revocations wait for Redis: this one is refused here only, and not tried again. Run the command when Redis is back"}
	revocationGivenUp = revocationState{"given_up", zerolog.ErrorLevel,
		"this process ends, and Redis has not confirmed a revocation. Run the command when Redis is back"}
)

// tell writes the line. As with audit lines, no log level turns it off: it may be all that is left of
// somebody's logout.
func (r revocation) tell(log *zerolog.Logger, state revocationState) {
	reason := r.reason
	if reason == endOrphan {
		reason = "orphan" // of a login that failed: nobody has its token, it only takes a place
	}
	e := log.Log().Str(zerolog.LevelFieldName, state.level.String()).Str("type", "revocation").Str("state", state.name).
		Str("reason", reason).Bool("all", r.all).Str("asked_at", r.at.UTC().Format("2006-01-02T15:04:05.000Z07:00"))
	if r.userID != "" {
		e.Str("user", r.userID)
	}
	if !r.all {
		// The first eight characters are what the other lines have; the whole is what names one session.
		e.Str("session", r.key.ID.Short()).Str("session_id", r.key.ID.String())
	}
	if len(r.except) > 0 {
		ids := make([]string, len(r.except))
		for i, id := range r.except {
			ids[i] = id.String()
		}
		e.Strs("except", ids)
	}
	if state.level != zerolog.InfoLevel {
		e.Str("command", r.command())
	}
	e.Msg(state.text)
}

// tellMore tells of those that have no line of their own at the end.
func tellMore(log *zerolog.Logger, more int) {
	log.Log().Str(zerolog.LevelFieldName, zerolog.ErrorLevel.String()).Str("type", "revocation").Str("state", revocationGivenUp.name).Int("more", more).
		Msg("this process ends, and Redis has not confirmed more revocations than are listed here. Each has a line with state waiting and none with state confirmed: run the commands of those when Redis is back")
}

// command is what an operator runs to have the revocation done. It stands in logs and is copied into shells, and
// the user ID comes from the application: it is quoted.
func (r revocation) command() string {
	words := []string{"gatehouse", "sessions"}
	if r.all {
		words = append(words, "revoke-user")
		for _, id := range r.except {
			words = append(words, "--except="+id.String())
		}
		return strings.Join(append(words, operand(r.userID)), " ")
	}
	words = append(words, "revoke")
	if r.userID != "" {
		words = append(words, "--user="+shellQuote(r.userID))
	}
	return strings.Join(append(words, operand(r.key.ID.String())), " ")
}

// operand is a word that is no flag, though one in 64 session IDs begins with a dash.
func operand(s string) string {
	if strings.HasPrefix(s, "-") {
		return "-- " + shellQuote(s)
	}
	return shellQuote(s)
}

// shellQuote makes one word of a POSIX shell of s.
func shellQuote(s string) string {
	plain := func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.@:+/", c)
	}
	if s != "" && strings.TrimFunc(s, plain) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
