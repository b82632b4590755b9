package command

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/session"
)

func newMigrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Move sessions from the application's database to Redis, step by step, and back",
		Long: `Moves sessions from the application's own sessions table to Redis without logging anybody out:

  legacy -> shadow -> canary -> primary -> drain -> done

These commands read the gateway's config file and need no running gateway; the gateways follow
within a second. docs/migration.md tells the whole way.`,
		Example: `  gatehouse migrate prepare --config gatehouse.yaml     the SQL your table needs
  gatehouse migrate status --config gatehouse.yaml      where you are, and whether it is safe to go on
  gatehouse migrate set shadow --config gatehouse.yaml  the next step`,
	}
	cmd.Args = cobra.NoArgs // or a mistyped subcommand would print the help and succeed
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newMigratePrepareCommand(), newMigrateStatusCommand(), newMigrateSetCommand(),
		newMigrateBackfillCommand(), newMigrateVerifyCommand(), newMigrateCleanupCommand())
	return cmd
}

// migrateFlags are the flags of every migrate command.
type migrateFlags struct {
	configFlags
	json bool
}

func (f *migrateFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "YAML `file` with the settings (required)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON for programs")
}

// open reads the settings and opens both stores, without a gateway around them.
func (f *migrateFlags) open(ctx context.Context) (*config.Config, *stores, error) {
	if f.file == "" {
		return nil, nil, errors.New("which gateway's sessions? give --config FILE")
	}
	cfg, err := f.load()
	if err != nil {
		return nil, nil, err
	}
	switch {
	case !cfg.Migration.Enabled():
		return nil, nil, fmt.Errorf("%s: migration.state is not set, so there is no migration; write migration.state: legacy to begin one", f.file)
	case !cfg.Database.Enabled():
		return nil, nil, fmt.Errorf("%s: database.url is not set; write the application's database there", f.file)
	}
	opening, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s, err := openStores(opening, cfg, session.Options{Log: zerolog.Nop(), Apart: true})
	return cfg, s, err
}

// run calls f with open stores and closes them.
func (f *migrateFlags) run(ctx context.Context, do func(*config.Config, *stores) error) error {
	cfg, s, err := f.open(ctx)
	if err != nil {
		return err
	}
	return errors.Join(do(cfg, s), s.close())
}

func printJSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// confirm asks before something that cannot be undone. Without an answer it is no; Ctrl-C ends it as it ends the command.
func confirm(cmd *cobra.Command, question string) (bool, error) {
	fmt.Fprintf(cmd.ErrOrStderr(), "%s [y/N] ", question)
	type reply struct {
		line string
		err  error
	}
	answered := make(chan reply, 1)
	// Reading a terminal cannot be called off: this ends with the process.
	go func() {
		line, err := bufio.NewReader(cmd.InOrStdin()).ReadString('\n')
		answered <- reply{line, err}
	}()
	select {
	case <-cmd.Context().Done():
		fmt.Fprintln(cmd.ErrOrStderr())
		return false, cmd.Context().Err()
	case r := <-answered:
		if r.err != nil && !errors.Is(r.err, io.EOF) {
			return false, r.err
		}
		yes := strings.ToLower(strings.TrimSpace(r.line))
		return yes == "y" || yes == "yes", nil
	}
}

func newMigrateSetCommand() *cobra.Command {
	var f migrateFlags
	var percent int
	var force bool
	cmd := &cobra.Command{
		Use:   "set STATE",
		Short: "Set the state for all gateways on this Redis",
		Long: `Writes the state into Redis, where every gateway follows it within a second: legacy, shadow, canary,
primary, drain or done. A step forward is refused while something speaks against it (see
gatehouse migrate status); a step back never is. The word file takes the shared state away again, and each
gateway goes by its config file.

A config file whose migration.state or migration.percent is changed afterwards wins over it.`,
		Example: `  gatehouse migrate set shadow --config gatehouse.yaml
  gatehouse migrate set canary --percent 5 --config gatehouse.yaml
  gatehouse migrate set legacy --config gatehouse.yaml      back; nobody is logged out
  gatehouse migrate set file --config gatehouse.yaml        go by the config file again`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain, config.StateDone, "file"},
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), func(cfg *config.Config, s *stores) error {
				if args[0] == "file" {
					return f.unset(cmd, s, force)
				}
				next := session.Setting{State: args[0], Percent: percent}
				if !cmd.Flags().Changed("percent") {
					next.Percent = s.migrating.Setting().Percent
				}
				return f.set(cmd, cfg, s, next, force)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().IntVar(&percent, "percent", 0, "`share` of the users whose sessions are in Redis, in state canary (default: as before)")
	cmd.Flags().BoolVar(&force, "force", false, "go on although something speaks against it")
	return cmd
}

func (f *migrateFlags) unset(cmd *cobra.Command, s *stores, force bool) error {
	status := s.migrating.Status(cmd.Context())
	if err := mayGo(status, status.File, force); err != nil {
		return err
	}
	if err := s.redis.SetShared(cmd.Context(), nil); err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), status.File)
	}
	_, err := fmt.Fprintln(cmd.OutOrStdout(), "no shared state any more: each gateway goes by its config file")
	return err
}

func (f *migrateFlags) set(cmd *cobra.Command, cfg *config.Config, s *stores, next session.Setting, force bool) error {
	status := s.migrating.Status(cmd.Context())
	before := status.Setting
	if err := session.CheckSetting(next, s.migrating); err != nil {
		return err
	}
	if before == next && status.Shared != nil && status.Shared.Over == status.File && !f.json {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "it is in state %s already\n", before)
		return err
	}
	if err := mayGo(status, next, force); err != nil {
		return err
	}
	shared := &session.Shared{Setting: next, Over: status.File, At: time.Now().UTC(), By: whoami()}
	if err := s.redis.SetShared(cmd.Context(), shared); err != nil {
		return err
	}
	if f.json {
		return printJSON(cmd.OutOrStdout(), shared)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "%s to %s: every gateway follows within a second\nback: gatehouse migrate set %s --config %s\n",
		before, next, backTo(before), f.file)
	return err
}

// mayGo says what speaks against going on to a state.
func mayGo(status session.Status, next session.Setting, force bool) error {
	before := status.Setting
	if status.Unknown {
		return fmt.Errorf("the state cannot be changed while Redis cannot be asked: %s", strings.Join(status.Errors, "; "))
	}
	if err := session.CheckStep(before.State, next.State); err != nil {
		return err
	}
	if session.Forward(before.State, next.State) && !status.Safe && !force {
		return fmt.Errorf("it is not safe to go on from %s to %s:\n  %s\nmend that, or add --force", before, next, strings.Join(status.Why, "\n  "))
	}
	return nil
}

// backTo is how the state before is set again.
func backTo(s session.Setting) string {
	if s.State == config.StateCanary {
		return fmt.Sprintf("%s --percent %d", s.State, s.Percent)
	}
	return s.State
}

// whoami names who sets a state, for the others who look at it.
func whoami() string {
	name := "somebody"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += "@" + host
	}
	return name
}

func newMigratePrepareCommand() *cobra.Command {
	var f migrateFlags
	var apply bool
	cmd := &cobra.Command{
		Use:   "prepare",
		Short: "Print the SQL the application's database needs, or run it",
		Long: `Prints what the application's sessions table needs before the migration begins: two columns that
may be empty, which the application does not notice, and one small table beside it. With --apply
it runs that, with the user of database.url, who must be allowed to.`,
		Example: `  gatehouse migrate prepare --config gatehouse.yaml | psql shop
  gatehouse migrate prepare --apply --config gatehouse.yaml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.prepare(cmd, apply) },
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&apply, "apply", false, "run it instead of printing it")
	return cmd
}
