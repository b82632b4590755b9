package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session"
)

func newMigrateCleanupCommand() *cobra.Command {
	var f migrateFlags
	var export string
	var yes bool
	cmd := &cobra.Command{
		Use:   "cleanup",
		Short: "Take the rows out of the table whose sessions have moved to Redis",
		Long: `Deletes the rows of the application's sessions table that are marked as moved to Redis. They are no
sessions any more in any state, so nobody is logged out. It asks first; with --export each
row is written to a file before, one JSON object a line.`,
		Example: `  gatehouse migrate cleanup --config gatehouse.yaml
  gatehouse migrate cleanup --export sessions.jsonl --yes --config gatehouse.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), func(cfg *config.Config, s *stores) error { return f.cleanup(cmd, cfg, s, export, yes) })
		},
	}
	f.register(cmd)
	cmd.Flags().StringVar(&export, "export", "", "`file` to write the rows to before; it must not exist yet. It holds tokens where the table does")
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return cmd
}

func (f *migrateFlags) cleanup(cmd *cobra.Command, cfg *config.Config, s *stores, export string, yes bool) error {
	counts, err := s.migrating.CountTable(cmd.Context())
	if err != nil {
		return err
	}
	if cfg.Session.Database.Cookie.Forward {
		fmt.Fprintln(cmd.ErrOrStderr(), "session.database.cookie.forward is on: the application still reads these rows, and loses what it keeps in them")
	}
	if counts.Moved > 0 && !yes {
		ok, err := confirm(cmd, fmt.Sprintf("Delete %d rows whose sessions have moved to Redis?", counts.Moved))
		if err != nil {
			return err
		}
		if !ok {
			return errors.New("nothing was deleted; answer y, or add --yes")
		}
	}
	keep, done, err := exportTo(export)
	if err != nil {
		return err
	}
	bar := newBar(cmd, counts.Live+counts.Moved+counts.Expired, "cleaning up")
	taken, err := s.table.Sweep(cmd.Context(), cfg.Migration.Import.Batch, s.settle(cmd.Context()), keep, func(read, _ int64) { setBar(bar, read) })
	_ = bar.Finish()
	if err := errors.Join(err, done()); err != nil {
		return fmt.Errorf("%w; %d rows were deleted, run it again for the rest", err, taken)
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"deleted": taken, "export": export})
	}
	where := ""
	if export != "" {
		where = ", after they were written to " + export
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d rows deleted%s\n", taken, where)
	return err
}

// exportTo opens the file the rows are written to; without a name there is none. A row is on disk before it is deleted,
// as far as the system's memory counts as that; done makes sure of the whole.
func exportTo(name string) (keep func(session.Swept) error, done func() error, err error) {
	if name == "" {
		return nil, func() error { return nil }, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("--export: %w; name a file that does not exist yet", err)
	}
	out := bufio.NewWriter(file)
	keep = func(row session.Swept) error {
		if err := json.NewEncoder(out).Encode(row); err != nil {
			return err
		}
		return out.Flush()
	}
	return keep, func() error { return errors.Join(out.Flush(), file.Sync(), file.Close()) }, nil
}

// prepare prints or runs what the table needs.
func (f *migrateFlags) prepare(cmd *cobra.Command, apply bool) error {
	if f.file == "" {
		return errors.New("which gateway's database? give --config FILE")
	}
	cfg, err := f.load()
	if err != nil {
		return err
	}
	if !cfg.Database.Enabled() {
		return fmt.Errorf("%s: database.url is not set; write the application's database there", f.file)
	}
	db, table, err := openTable(cmd.Context(), cfg, session.Options{Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer db.Close()
	statements := table.SchemaSQL()
	if !apply {
		if f.json {
			return printJSON(cmd.OutOrStdout(), statements)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), strings.Join(statements, ";\n")+";")
		return err
	}
	if err := table.Check(cmd.Context()); err == nil {
		return f.prepared(cmd, nil, "everything is there already")
	}
	for _, statement := range statements {
		if _, err := db.Exec(cmd.Context(), statement); err != nil && !database.IsDuplicateColumn(err) {
			return fmt.Errorf("%w\nin: %s\nrun what gatehouse migrate prepare prints as a user who may", err, statement)
		}
	}
	if err := table.Check(cmd.Context()); err != nil {
		return err
	}
	return f.prepared(cmd, statements, "the table is ready; begin with migration.state: legacy")
}

// prepared tells what was run.
func (f *migrateFlags) prepared(cmd *cobra.Command, statements []string, text string) error {
	if f.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"applied": append([]string{}, statements...)})
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), text)
	return err
}

// settle finishes what was cut short before a row goes.
func (s *stores) settle(ctx context.Context) func(session.Row) error {
	return func(row session.Row) error { return s.migrating.Settle(ctx, row) }
}
