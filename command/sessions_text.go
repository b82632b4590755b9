package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/session"
)

// printable gives a text that a terminal shows as it is. Names, addresses and user agents are what strangers have sent:
// control characters, and those that turn the direction of writing, would let them rewrite what an operator sees.
func printable(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&out, `\x%02x`, s[i])
		case unicode.IsPrint(r):
			out.WriteRune(r)
		case r < 0x80:
			fmt.Fprintf(&out, `\x%02x`, r)
		case r <= 0xffff:
			fmt.Fprintf(&out, `\u%04x`, r)
		default:
			fmt.Fprintf(&out, `\U%08x`, r)
		}
		i += size
	}
	return out.String()
}

// cell is printable text of at most so many characters, and never empty: a table's columns must stay what they are.
func cell(s string, most int) string {
	text := []rune(printable(s))
	switch {
	case len(text) == 0:
		return "-"
	case len(text) > most:
		return string(text[:most-3]) + "..."
	}
	return string(text)
}

// writeJSON writes JSON in which a terminal finds no control characters either: the encoder leaves those past
// ASCII as they are, and among them are some that a terminal obeys. indent "" is one line.
func writeJSON(out io.Writer, v any, indent string) error {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetIndent("", indent)
	if err := e.Encode(v); err != nil {
		return err
	}
	var safe bytes.Buffer
	for _, r := range buf.String() {
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			safe.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&safe, `\u%04x`, r)
		default: // JSON has no longer form: two halves
			r -= 0x10000
			fmt.Fprintf(&safe, `\u%04x\u%04x`, 0xd800+(r>>10), 0xdc00+(r&0x3ff))
		}
	}
	_, err := out.Write(safe.Bytes())
	return err
}

// stamp is a time as tables show it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// views gives what may be seen of sessions; never nil, which in JSON would be no list.
func views(all []*session.Record) []session.View {
	out := make([]session.View, 0, len(all))
	for _, rec := range all {
		out = append(out, rec.View())
	}
	return out
}

// scanBar shows how far a walk through Redis is. The bar is made when it is known how long it is; finish takes it away.
func scanBar(cmd *cobra.Command, what string) (progress func(done, total int64), finish func()) {
	var bar *progressbar.ProgressBar
	progress = func(done, total int64) {
		if bar == nil {
			if total <= 0 {
				total = -1 // a bar that only turns
			}
			bar = newBar(cmd, total, what)
			progressbar.OptionSetItsString("keys")(bar)
		}
		if total > 0 {
			setBar(bar, done)
		} else {
			_ = bar.Add(1)
		}
	}
	return progress, func() {
		if bar != nil {
			_ = bar.Finish() // only drawing can fail
		}
	}
}

// asking reports whether there is somebody to ask.
func asking(cmd *cobra.Command) bool {
	f, ok := cmd.InOrStdin().(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
