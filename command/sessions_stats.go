package command

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/session"
)

func newSessionsStatsCommand() *cobra.Command {
	var f sessionsFlags
	cmd := &cobra.Command{
		Use:   "stats",
		Short: "Count sessions and users, and say what memory they take",
		Long: `Reads every session in Redis once and counts: sessions, users, how many sessions users have, the oldest, and what memory
Redis says it uses. What Redis does not say is told as unknown. Sessions that are only in the application's own table are not counted;
gatehouse migrate status does.`,
		Example: `  gatehouse sessions stats --config gatehouse.yaml
  gatehouse sessions stats --json --config gatehouse.yaml | jq .sessions`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(w *work) error {
				progress, finish := scanBar(cmd, "counting")
				stats, err := w.Stats(cmd.Context(), progress)
				finish()
				if err != nil {
					return err
				}
				if f.json {
					return writeJSON(cmd.OutOrStdout(), struct {
						*session.Stats
						Covers string `json:"covers"`
					}{stats, w.covers()}, "  ")
				}
				return printStats(cmd.OutOrStdout(), stats, w.covers())
			})
		},
	}
	f.register(cmd)
	return cmd
}

// covers says what commands that go through all sessions have gone through.
func (w *work) covers() string {
	if w.stores.migrating != nil {
		return "the sessions in Redis, not those that are only in the application's table"
	}
	return "all sessions"
}

func printStats(out io.Writer, s *session.Stats, covers string) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("covers", "%s", covers)
	line("sessions", "%d", s.Sessions)
	if s.Copies > 0 {
		line("", "of which %d are copies that count only with their rows in the application's table", s.Copies)
	}
	line("users", "%d", s.Users)
	name := "per user"
	for _, r := range s.PerUser {
		if r.Users == 0 {
			continue
		}
		verb := "have"
		if r.Users == 1 {
			verb = "has"
		}
		line(name, "%s %s %s", plural(int(r.Users), "user"), verb, rangeText(r))
		name = ""
	}
	if s.Oldest != nil {
		line("oldest", "session %s of user %s, logged in %s", s.Oldest.ID[:12], cell(s.Oldest.UserID, 40), stamp(s.Oldest.CreatedAt))
	}
	printMemory(line, s.Memory)
	if s.Corrupt > 0 {
		line("corrupt", "%s that cannot be read and are no sessions; see gatehouse sessions audit", plural(int(s.Corrupt), "record"))
	}
	return table.Flush()
}

func rangeText(r session.Range) string {
	switch {
	case r.To == 0:
		return fmt.Sprintf("%d sessions or more", r.From)
	case r.From == r.To:
		return plural(int(r.From), "session")
	}
	return fmt.Sprintf("%d to %d sessions", r.From, r.To)
}

func printMemory(line func(name, format string, args ...any), m session.Memory) {
	const unknown = "unknown: Redis does not say, or this user of Redis may not ask"
	switch {
	case m.Used == nil:
		line("memory", unknown)
	case m.Max == nil || *m.Max == 0:
		line("memory", "%s in all of Redis, no limit (maxmemory)", bytesText(float64(*m.Used)))
	default:
		line("memory", "%s in all of Redis, of %s (maxmemory)", bytesText(float64(*m.Used)), bytesText(float64(*m.Max)))
	}
	switch {
	case m.PerSession != nil:
		line("per session", "%s, index included (the mean of %d)", bytesText(*m.PerSession), m.Sampled)
	default:
		line("per session", unknown)
	}
}

// bytesText is a size as people read it.
func bytesText(n float64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for n >= 1024 && i < len(units)-1 {
		n /= 1024
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%.0f B", n)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
