package command

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"gatehouse/config"
	"gatehouse/session"
	"gatehouse/telemetry"
)

func newSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "Look at sessions, end them, count them, check the indexes, export them",
		Long: `Looks at sessions and ends them, in the stores the gateways use. These commands read the gateway's config file and need
no running gateway; every gateway obeys within milliseconds. docs/operating.md tells more.

A session is named by its ID, or by the first 8 characters or more, as logs print them. The ID is no secret: nobody can log in
with it. Behind -- it may begin with a dash.`,
		Example: `  gatehouse sessions list --user 42 --config gatehouse.yaml
  gatehouse sessions revoke Xq3kfT0a --config gatehouse.yaml
  gatehouse sessions audit --config gatehouse.yaml`,
	}
	cmd.Args = cobra.NoArgs // or a mistyped subcommand would print the help and succeed
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	cmd.AddCommand(newSessionsListCommand(), newSessionsShowCommand(), newSessionsRevokeCommand(), newSessionsRevokeUserCommand(),
		newSessionsStatsCommand(), newSessionsAuditCommand(), newSessionsExportCommand())
	cmd.SetFlagErrorFunc(dashed)
	return cmd
}

// dashed explains what happens with one ID in 64, which begins with a dash. The argument is not repeated: it may be a
// token, which people mistake for the ID.
func dashed(cmd *cobra.Command, err error) error {
	text := err.Error()
	name, long := strings.CutPrefix(text, "unknown flag: --")
	if strings.HasPrefix(text, "unknown shorthand flag") || long && (strings.ToLower(name) != name || len(name) > 20) {
		return fmt.Errorf("unknown flag; a session ID that begins with a dash goes behind two: %s --config FILE -- ID", cmd.CommandPath())
	}
	return err
}

// sessionsFlags are the flags of every sessions command.
type sessionsFlags struct {
	configFlags
	json bool
	user string
	// ends: the command ends sessions, which leaves audit lines.
	ends bool
}

func (f *sessionsFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "YAML `file` with the settings (required)")
	cmd.Flags().BoolVar(&f.json, "json", false, "print JSON for programs")
}

// registerUser is for commands that are quicker, or less ambiguous, when the user is known.
func (f *sessionsFlags) registerUser(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.user, "user", "", "the user's `ID`: only look through that user's sessions, and not through all")
}

// work is what a sessions command works with.
type work struct {
	cfg    *config.Config
	stores *stores
	*session.Operator
	// result prints what has been done, nil for nothing. It is called once that is certain, which may be late.
	result func() error

	mu    sync.Mutex
	ended map[session.ID]struct{}
}

// note takes down what has ended: of sessions that end late nobody else says how many they were.
func (w *work) note(ids []session.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.ended[id] = struct{}{}
	}
}

func (w *work) endedSoFar() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.ended)
}

// run calls do with open stores and closes them.
func (f *sessionsFlags) run(cmd *cobra.Command, do func(*work) error) error {
	w, manager, err := f.open(cmd)
	if err != nil {
		return err
	}
	manager.OnEnd(w.note)
	err = do(w)
	// What could not be confirmed is tried on for as long as this takes.
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	closing := manager.Close(ctx)
	if errors.Is(err, session.ErrUnconfirmed) && closing == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "the store did not confirm it at first, and has now: what was to end has ended")
		err = nil
	}
	if err == nil && w.result != nil {
		err = w.result()
	}
	if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
		err = errors.New("stopped before the end")
	}
	return errors.Join(f.explain(err), closing, w.stores.close())
}

// errNoUser: an empty variable in a script, most likely.
var errNoUser = errors.New("whose sessions? the user's ID is empty")

// open reads the settings and opens the stores, without a gateway around them.
func (f *sessionsFlags) open(cmd *cobra.Command) (*work, *session.Manager, error) {
	if f.file == "" {
		return nil, nil, errors.New("which gateway's sessions? give --config FILE")
	}
	cfg, err := f.load()
	if err != nil {
		return nil, nil, err
	}
	if cfg.Redis.Embedded() {
		return nil, nil, fmt.Errorf("%s: redis.addresses is embedded: the sessions are in the memory of the gateway's process, where only its admin API reaches them", f.file)
	}
	log, err := f.trail(cmd)
	if err != nil {
		return nil, nil, err
	}
	options := session.Options{Log: log, Apart: true, CacheSize: cfg.Session.CacheSize}
	opening, cancel := context.WithTimeout(cmd.Context(), checkTimeout)
	defer cancel()
	s, err := openStores(opening, cfg, options)
	if err != nil {
		return nil, nil, err
	}
	if err := awaitRedis(opening, s.redis); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("cannot ask Redis at %s: %w; nothing was done", cfg.Redis.Where(), err), s.close())
	}
	manager := session.NewManager(s.store(), cfg.Session, cfg.Outage, options)
	return &work{cfg: cfg, stores: s, Operator: session.NewOperator(manager), ended: make(map[session.ID]struct{})}, manager, nil
}

// trail is where a command that ends sessions leaves its audit and revocation lines: on standard error, as the gateway
// does, when a program or a file has that. A person at a terminal is told in a sentence; everything else a log
// would hold is in the error the command ends with.
func (f *sessionsFlags) trail(cmd *cobra.Command) (zerolog.Logger, error) {
	out := cmd.ErrOrStderr()
	if file, ok := out.(*os.File); !f.ends || ok && term.IsTerminal(int(file.Fd())) {
		return zerolog.Nop(), nil
	}
	log, err := telemetry.NewLogger(out, "error", "json")
	return log.Level(zerolog.PanicLevel), err // such lines have no level of zerolog's
}

// awaitRedis gives the first connection more than one try: on a busy machine it takes longer than a request may.
func awaitRedis(ctx context.Context, redis *session.RedisStore) error {
	for deadline := time.Now().Add(2 * time.Second); ; {
		_, err := redis.Epoch(ctx)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return redis.Ping(ctx) // which tells the cause, not that it counts as away
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// explain says what to do about an error of package session.
func (f *sessionsFlags) explain(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, session.ErrUnconfirmed):
		return fmt.Errorf("%w\nit may have been done or not; do it again when the store is back", err)
	case errors.Is(err, session.ErrAmbiguous):
		_, ids, _ := strings.Cut(err.Error(), ": more than one session begins like this: ")
		return fmt.Errorf("more than one session begins like this, give more of the ID, or --user:\n  %s", strings.ReplaceAll(ids, ", ", "\n  "))
	case errors.Is(err, session.ErrNotFound):
		if _, why, ok := strings.Cut(err.Error(), session.ErrNotFound.Error()+": "); ok {
			return errors.New(why)
		}
		return fmt.Errorf("no such session: it has ended, or there never was one; see: gatehouse sessions list --user USER --config %s", f.file)
	}
	return err
}
