package command

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"gatehouse/session"
)

// maxFindingLines bounds what an audit prints one by one; with --json it is all the report holds.
const maxFindingLines = 100

func newSessionsAuditCommand() *cobra.Command {
	var f sessionsFlags
	var repair bool
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Check the records in Redis against the users' indexes, and repair them; exit code 1 when something is wrong",
		Long: `Checks that every session in Redis is in its user's index, for as long as it lives, that every entry of an index has
its session, and that everything expires. It changes nothing without --repair, and may run while gateways do.

With --repair it heals what can be healed, by steps that look again before they write: a session that has been revoked is
never brought back. What cannot be healed is told with what else to do.

Exit code 1 when anything is wrong that has not been repaired.`,
		Example: `  gatehouse sessions audit --config gatehouse.yaml
  gatehouse sessions audit --repair --config gatehouse.yaml
  gatehouse sessions audit --json --config gatehouse.yaml | jq .kinds`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd, func(w *work) error { return f.audit(cmd, w, repair) })
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&repair, "repair", false, "heal what can be healed")
	return cmd
}

func (f *sessionsFlags) audit(cmd *cobra.Command, w *work, repair bool) error {
	progress, finish := scanBar(cmd, "checking")
	report, err := w.Audit(cmd.Context(), repair, progress)
	finish()
	if err != nil {
		if report.Repaired > 0 {
			return fmt.Errorf("%w\n%s repaired before that; run it again for the rest", err, plural(int(report.Repaired), "problem"))
		}
		return err
	}
	if f.json {
		err = writeJSON(cmd.OutOrStdout(), struct {
			*session.AuditReport
			Covers string `json:"covers"`
		}{report, w.covers()}, "  ")
	} else {
		err = printAudit(cmd.OutOrStdout(), report, w.covers(), repair)
	}
	if err != nil {
		return err
	}
	if report.Problems > report.Repaired {
		return errReported
	}
	return nil
}

func printAudit(out io.Writer, r *session.AuditReport, covers string, repair bool) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) {
		fmt.Fprintf(table, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	line("covers", "%s", covers)
	line("sessions", "%d", r.Sessions)
	line("indexes", "%d, with %d entries, of which %d of sessions that have expired", r.Indexes, r.Entries, r.Expired)
	if r.Foreign > 0 {
		line("foreign", "%s with names like ours, left alone", plural(int(r.Foreign), "key"))
	}
	switch {
	case r.Problems == 0:
		line("problems", "none")
	case repair:
		line("problems", "%d, %d repaired", r.Problems, r.Repaired)
	default:
		line("problems", "%d; gatehouse sessions audit --repair heals what can be healed", r.Problems)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Kinds)) {
		line("", "%d %s", r.Kinds[kind], kind)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for i, f := range r.Findings {
		if i == maxFindingLines {
			break
		}
		printFinding(out, f)
	}
	if rest := r.Problems - int64(min(len(r.Findings), maxFindingLines)); rest > 0 {
		fmt.Fprintf(out, "and %d more\n", rest)
	}
	return nil
}

func printFinding(out io.Writer, f session.Finding) {
	who := ""
	if f.UserID != "" {
		who = ", user " + cell(f.UserID, 60)
	}
	fmt.Fprintf(out, "%s%s: %s\n  key %s\n", f.Kind, who, printable(f.What), printable(f.Key))
	if f.Session != "" {
		fmt.Fprintf(out, "  session %s\n", f.Session)
	}
	switch {
	case f.Repaired:
		fmt.Fprintf(out, "  repaired: %s\n", f.Done)
	case f.Hint != "":
		fmt.Fprintf(out, "  not repaired: %s\n", f.Hint)
	}
}
