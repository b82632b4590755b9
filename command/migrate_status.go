package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/session"
)

func newMigrateStatusCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show the state, the sessions in both stores, the last hour, and whether it is safe to go on",
		Long: `Shows the state of the migration, how many sessions are in the database and in Redis, what all gateways
together have counted within the last hour, and whether it is safe to go on, or why not.
It reads every session in Redis once.`,
		Example: `  gatehouse migrate status --config gatehouse.yaml
  gatehouse migrate status --json --config gatehouse.yaml | jq .safe`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), func(_ *config.Config, s *stores) error {
				status := s.migrating.Status(cmd.Context())
				if f.json {
					return printJSON(cmd.OutOrStdout(), status)
				}
				return printStatus(cmd.OutOrStdout(), status, f.file)
			})
		},
	}
	f.register(cmd)
	return cmd
}

// hourText says what each count means, in the order they are shown in.
var hourText = []struct{ name, text string }{
	{"database_hits", "sessions found in the database"},
	{"imports", "came over to Redis"},
	{"import_errors", "could not come over, served from the database"},
	{"copies", "copies of new sessions made"},
	{"copy_errors", "copies that could not be made"},
	{"compared", "copies compared with their rows"},
	{"mismatches", "copies that differed, and were mended"},
	{"without_copy", "sessions seen that have no copy"},
	{"errors", "questions to a store that failed"},
}

func printStatus(out io.Writer, s session.Status, file string) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	if s.Unknown {
		line("state", "unknown: Redis cannot be asked; the config file says %s", s.File)
	} else {
		line("state", "%s", s.Setting)
	}
	switch {
	case s.Unknown:
	case s.Shared == nil:
		line("", "as the config file says; no shared state is set")
	case s.Shared.Over == s.File:
		line("", "set %s by %s", ago(s.Shared.At), s.Shared.By)
	default:
		line("", "as the config file says; it was changed after %s was set %s by %s", s.Shared.Setting, ago(s.Shared.At), s.Shared.By)
	}
	if s.Database != nil {
		line("database", "%d live, %d moved to Redis, %d expired", s.Database.Live, s.Database.Moved, s.Database.Expired)
	}
	if s.Redis != nil {
		line("redis", "%d in all: %d born there, %d moved, %d copies", s.Redis.Sessions, s.Redis.Sessions-s.Redis.Moved-s.Redis.Copies, s.Redis.Moved, s.Redis.Copies)
	}
	head := "last hour"
	for _, count := range hourText {
		if n := s.LastHour[count.name]; n > 0 {
			line(head, "%d %s", n, count.text)
			head = ""
		}
	}
	if head != "" {
		line(head, "nothing counted")
	}
	if s.Backfill != nil {
		line("backfill", "%s", backfillText(s.Backfill))
	}
	for _, e := range s.Errors {
		line("error", "%s", e)
	}
	printNext(line, s, file)
	return w.Flush()
}

func printNext(line func(name, format string, args ...any), s session.Status, file string) {
	switch {
	case s.Unknown:
		line("next", "nothing can be said without Redis")
	case s.Next == "":
		line("next", "nothing: the migration is done; keep database and session.database in the file until you never want to go back")
	case s.Safe:
		line("next", "it is safe to go on: gatehouse migrate set %s --config %s", s.Next, file)
	default:
		line("next", "it is NOT safe to go on to %s:", s.Next)
		for _, why := range s.Why {
			line("", "- %s", why)
		}
	}
}

func backfillText(p *session.Progress) string {
	how := "was cut short"
	if p.Finished {
		how = "finished"
	}
	return fmt.Sprintf("%s %s in state %s: %s", how, ago(p.At), p.State, rowsText(p.Rows))
}

// rowsText leaves out what there was none of.
func rowsText(n session.Rows) string {
	counts := map[string]int64{
		"1came over": n.Imported, "2copied": n.Copied, "3had already": n.Already, "4belong into the database in this state": n.Waiting,
		"5expired": n.Expired, "6nobody logged in": n.Anonymous, "7unreadable": n.Unreadable, "8ended meanwhile": n.Ended,
	}
	texts := []string{fmt.Sprintf("%d rows", n.Read)}
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		if counts[name] > 0 {
			texts = append(texts, fmt.Sprintf("%d %s", counts[name], name[1:]))
		}
	}
	return strings.Join(texts, ", ")
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "at an unknown time"
	}
	return fmt.Sprintf("%s ago (%s)", time.Since(t).Round(time.Second), t.UTC().Format(time.RFC3339))
}
