package session

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/rs/zerolog"
)

// revocationState is what has become of a revocation that could not be confirmed at once.
type revocationState struct {
	name  string
	level zerolog.Level
	text  string
}

// The states, and what the operator is told; after those that leave something to do, revocation.todo. While one
// waits or is left over, somebody whose session should have ended may be logged in at other replicas, or here after a restart.
var (
	revocationWaits = revocationState{"waiting", zerolog.WarnLevel,
		"Redis has not confirmed a revocation: this replica refuses the session and tries again until it is confirmed. Should this process be killed before that, when Redis is back "}
	revocationConfirmed = revocationState{"confirmed", zerolog.InfoLevel,
		"Redis has confirmed a revocation that was waiting"}
	revocationOver = revocationState{"over", zerolog.InfoLevel,
		"a revocation that was waiting has become needless: its sessions would have expired by now"}
	revocationNotRetried = revocationState{"not_retried", zerolog.ErrorLevel,
		"too many revocations wait for Redis: this one is refused here only, and not tried again. When Redis is back "}
	revocationGivenUp = revocationState{"given_up", zerolog.ErrorLevel,
		"this process ends, and Redis has not confirmed a revocation. When Redis is back "}
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
		e.RawJSON("user", printableJSON(r.userID))
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
	if state.level == zerolog.InfoLevel {
		e.Msg(state.text)
		return
	}
	command, ok := r.command()
	if ok {
		e.Str("command", command)
	}
	e.Msg(state.text + r.todo(ok))
}

// todo is what the operator does about it. command: the line has one.
func (r revocation) todo(command bool) string {
	switch {
	case command:
		return "run the command"
	case r.all:
		return "run gatehouse sessions revoke-user, with the user of this line: that ID cannot be copied as it stands here, quote it yourself"
	}
	return "run gatehouse sessions revoke, with the session_id and --user with the user of this line: that ID cannot be copied as it stands here, quote it yourself"
}

// tellMore tells of those that have no line of their own at the end.
func tellMore(log *zerolog.Logger, more int) {
	log.Log().Str(zerolog.LevelFieldName, zerolog.ErrorLevel.String()).Str("type", "revocation").Str("state", revocationGivenUp.name).Int("more", more).
		Msg("this process ends, and Redis has not confirmed more revocations than are listed here. Each has a line with state waiting and none with state confirmed: when Redis is back do what those say")
}

// command is what an operator runs to have the revocation done, if it can be written so that it may be copied. A user ID can come
// from what people have chosen, and the line goes through JSON or a console's quoting before it gets into a shell: what is
// quoted for the shell is escaped again there, and ends its quotes where it is pasted. So nothing is quoted: a user ID that
// would need it has no command.
func (r revocation) command() (command string, ok bool) {
	words := []string{"gatehouse", "sessions"}
	operand := r.key.ID.String()
	if r.all {
		words = append(words, "revoke-user")
		for _, id := range r.except {
			words = append(words, "--except="+id.String())
		}
		operand = r.userID
	} else {
		words = append(words, "revoke")
		if r.userID != "" {
			words = append(words, "--user="+r.userID)
		}
	}
	if strings.HasPrefix(operand, "-") { // no flag, though one in 64 session IDs begins so
		words = append(words, "--")
	}
	return strings.Join(append(words, operand), " "), operand != "" && plain(r.userID)
}

// plain reports whether s holds only what is itself in JSON, on the console and in a shell.
func plain(s string) bool {
	return strings.TrimFunc(s, func(c rune) bool {
		return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.ContainsRune("-_.@:+/", c)
	}) == ""
}

// printableJSON is s as JSON in which everything is escaped that a terminal would not show as it is: the log's own encoder leaves
// control characters past ASCII and those that turn the direction of writing, by which a user ID could rewrite the line.
func printableJSON(s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // a string always can be written
		panic(err)
	}
	var out []byte
	for _, r := range string(text) {
		if unicode.IsPrint(r) {
			out = utf8.AppendRune(out, r)
			continue
		}
		for _, half := range utf16.AppendRune(nil, r) {
			out = fmt.Appendf(out, `\u%04x`, half)
		}
	}
	return out
}
