package command

import (
	"errors"
	"fmt"
	"os"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
	"golang.org/x/time/rate"

	"gatehouse/config"
	"gatehouse/session"
)

// newBar shows how far a run over total rows is, with its rate and the time left, on a terminal's
// standard error; in a pipe there is nothing to look at.
func newBar(cmd *cobra.Command, total int64, what string) *progressbar.ProgressBar {
	f, ok := cmd.ErrOrStderr().(*os.File)
	visible := ok && term.IsTerminal(int(f.Fd()))
	return progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(cmd.ErrOrStderr()), progressbar.OptionSetVisibility(visible),
		progressbar.OptionSetDescription(what), progressbar.OptionSetItsString("rows"), progressbar.OptionShowIts(),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
}

// set moves the bar; a row more than was counted at the beginning is no error.
func setBar(bar *progressbar.ProgressBar, n int64) {
	if n > bar.GetMax64() {
		bar.ChangeMax64(n)
	}
	_ = bar.Set64(n) // only drawing can fail
}

func newMigrateBackfillCommand() *cobra.Command {
	var f migrateFlags
	var perSecond int
	cmd := &cobra.Command{
		Use:   "backfill",
		Short: "Bring over the sessions nobody has used since",
		Long: `Brings sessions over to Redis that nobody has used since the state was set: in primary and drain all of them, in canary
those of the users who are in, in shadow it makes copies. At most migration.import.rate rows per
second. It can be stopped at any time (Ctrl-C) and run again: what has come over is marked.`,
		Example: `  gatehouse migrate backfill --config gatehouse.yaml
  gatehouse migrate backfill --rate 2000 --config gatehouse.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), func(cfg *config.Config, s *stores) error {
				if !cmd.Flags().Changed("rate") {
					perSecond = cfg.Migration.Import.Rate
				}
				if perSecond < 1 {
					return errors.New("--rate must be at least 1 row per second")
				}
				return f.backfill(cmd, s, perSecond, cfg.Migration.Import.Batch)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&perSecond, "rate", 0, "rows per second, instead of migration.import.rate")
	return cmd
}

func (f *migrateFlags) backfill(cmd *cobra.Command, s *stores, perSecond, batch int) error {
	ctx := cmd.Context()
	if err := s.redis.Ping(ctx); err != nil {
		return fmt.Errorf("cannot ask Redis: %w", err)
	}
	counts, err := s.migrating.CountTable(ctx)
	if err != nil {
		return err
	}
	bar := newBar(cmd, counts.Live+counts.Moved+counts.Expired, "coming over")
	limit := rate.NewLimiter(rate.Limit(perSecond), max(perSecond/10, 1))
	var p session.Progress
	err = s.migrating.Backfill(ctx, &p, batch, limit.Wait, func(p session.Progress) { setBar(bar, p.Read) })
	_ = bar.Finish()
	if ctx.Err() != nil {
		err = fmt.Errorf("stopped after %s; run it again to go on", rowsText(p.Rows))
	}
	if err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), p)
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), rowsText(p.Rows))
	return err
}

func newMigrateVerifyCommand() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Compare both stores session by session; exit code 1 when they do not agree",
		Long: `Compares the application's table with Redis, session by session, and prints what does not agree. It changes
nothing. Exit code 1 when anything does not agree.`,
		Example: `  gatehouse migrate verify --config gatehouse.yaml
  gatehouse migrate verify --json --config gatehouse.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), func(cfg *config.Config, s *stores) error { return f.verify(cmd, s, cfg.Migration.Import.Batch) })
		},
	}
	f.register(cmd)
	return cmd
}

func (f *migrateFlags) verify(cmd *cobra.Command, s *stores, batch int) error {
	counts, err := s.migrating.CountTable(cmd.Context())
	if err != nil {
		return err
	}
	bar := newBar(cmd, counts.Live+counts.Moved+counts.Expired, "comparing")
	v, err := s.migrating.Verify(cmd.Context(), batch, func(v session.Verification) { setBar(bar, v.Rows) })
	_ = bar.Finish()
	if err != nil {
		return err
	}
	if f.json {
		if err := printJSON(cmd.OutOrStdout(), v); err != nil {
			return err
		}
	} else {
		printVerification(cmd, v)
	}
	if v.Mismatched > 0 {
		return errReported
	}
	return nil
}

func printVerification(cmd *cobra.Command, v session.Verification) {
	out := cmd.OutOrStdout()
	fmt.Fprintf(out, "rows        %d, of which %d expired and %d with nobody logged in\n", v.Rows, v.Expired, v.Anonymous)
	fmt.Fprintf(out, "in both     %d\n", v.Compared)
	fmt.Fprintf(out, "database    %d sessions that are not in Redis\n", v.OnlyDatabase)
	fmt.Fprintf(out, "redis       %d sessions that were born there\n", v.OnlyRedis)
	fmt.Fprintf(out, "ended       %d that had moved to Redis; gatehouse migrate cleanup takes their rows away\n", v.Ended)
	fmt.Fprintf(out, "mismatches  %d\n", v.Mismatched)
	for _, m := range v.Mismatches {
		fmt.Fprintf(out, "  session %s of user %s: %s\n", m.Session, m.UserID, m.What)
	}
	if rest := v.Mismatched - int64(len(v.Mismatches)); rest > 0 {
		fmt.Fprintf(out, "  and %d more\n", rest)
	}
}
