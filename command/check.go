package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/login/users"
	"gatehouse/pages"
	"gatehouse/proxy"
	"gatehouse/session"
)

// checkTimeout bounds each connection `gatehouse check` tries.
const checkTimeout = 5 * time.Second

func newCheckCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the settings, and the connections to Redis, the database and the application",
		Long: `Loads and validates the settings, connects to Redis, to the database and to the application, and prints every
problem at once: where it is, what is wrong, and what would be right.
Exit code 0 when there is none, else 1.`,
		Example: `  gatehouse check --config gatehouse.yaml`,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if flags.file == "" && flags.upstream == "" {
				return errors.New("nothing to check: give --config FILE")
			}
			cfg, err := flags.load()
			out := cmd.OutOrStdout()
			problems := 0
			bad := new(config.Errors)
			switch {
			case errors.As(err, &bad):
				for _, p := range bad.Problems {
					fmt.Fprintln(out, p.String())
				}
				problems += len(bad.Problems)
				cfg = bad.Partial
			case err != nil:
				return err
			default:
				fmt.Fprintf(out, "ok       settings: %s, default %s, login by %s\n", plural(len(cfg.Rules), "rule"), cfg.Default, cfg.Login.Backend)
			}
			if cfg != nil {
				problems += checkAround(cmd.Context(), out, cfg, bad)
			}
			if problems > 0 {
				fmt.Fprintf(out, "\n%s\n", plural(problems, "problem"))
				return errReported
			}
			return nil
		},
	}
	flags.register(cmd)
	return cmd
}

// checkAround looks at what the settings point to, and gives the number of problems. What was wrong
// in the settings themselves has been told already, and is not looked into.
func checkAround(ctx context.Context, out io.Writer, cfg *config.Config, bad *config.Errors) int {
	problems := 0
	report := func(what string, err error) {
		if err == nil {
			fmt.Fprintf(out, "ok       %s\n", what)
			return
		}
		problems++
		fmt.Fprintf(out, "problem  %s: %s\n", what, strings.ReplaceAll(err.Error(), "\n", "\n         "))
	}
	if !bad.About("redis") {
		key := "redis.addresses: "
		if cfg.Redis.Sentinel.Enabled() {
			key = "redis.sentinel: "
		}
		report(key+cfg.Redis.Where(), checkRedis(ctx, cfg.Redis, cfg.Migration.Enabled()))
	}
	if cfg.Database.Enabled() && !bad.About("database") {
		checkDatabase(ctx, cfg, bad, report)
	}
	if cfg.Upstream != nil && !bad.About("upstream") && !bad.About("upstream_tls") && !bad.About("rules") {
		report("upstream: "+cfg.Upstream.String(), checkApp(ctx, cfg, cfg.Upstream))
		for i, rule := range cfg.Rules {
			if rule.Upstream != nil {
				report(fmt.Sprintf("rules[%d].upstream: %s", i, rule.Upstream), checkApp(ctx, cfg, rule.Upstream))
			}
		}
	}
	if cfg.Login.Backend == "file" && !bad.About("login.file") {
		n, err := checkUsers(cfg.Login.File.Path)
		report(fmt.Sprintf("login.file.path: %s, %s", cfg.Login.File.Path, plural(n, "user")), err)
	}
	if cfg.Pages.Templates != "" && !bad.About("pages") {
		_, err := pages.New(cfg.Pages)
		if err != nil {
			err = fmt.Errorf("%w; correct it, or take it out of the folder to get the embedded page back", err)
		}
		report("pages.templates: "+cfg.Pages.Templates, err)
	}
	if cfg.Assertion.Enabled() && !bad.About("assertion") {
		n, err := assertion.Check(cfg.Assertion)
		report(fmt.Sprintf("assertion.key_file: %s, %s", cfg.Assertion.KeyFile, plural(n, "key")), err)
	}
	if cfg.TLS.Enabled() && !bad.About("tls") {
		report("tls.cert_file: "+cfg.TLS.CertFile, proxy.CheckCertificate(cfg.TLS))
	}
	return problems
}

func checkRedis(ctx context.Context, cfg config.Redis, migrating bool) error {
	if cfg.Embedded() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	store, err := session.Open(ctx, cfg, session.Options{Clock: time.Now, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	defer store.Close()
	if err := store.Ping(ctx); err != nil {
		where := "redis.addresses"
		if cfg.Sentinel.Enabled() {
			where = "redis.sentinel"
		}
		return fmt.Errorf("%w; start Redis, or correct %s, redis.username, redis.password_file or redis.tls", err, where)
	}
	if err := store.Try(ctx); err != nil {
		return fmt.Errorf("it answers, and does not do what logging in needs: %w", err)
	}
	if !migrating {
		return nil
	}
	if _, err := store.Shared(ctx); err != nil {
		return fmt.Errorf("the shared state of the migration cannot be read: %w; give the Redis user the rights it needs while sessions move (README)", err)
	}
	return nil
}

// checkDatabase asks the database for a sign of life and, while sessions are in it, whether the table has what
// the migration needs.
func checkDatabase(ctx context.Context, cfg *config.Config, bad *config.Errors, report func(string, error)) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	db, table, err := openTable(ctx, cfg, session.Options{Log: zerolog.Nop()})
	if err != nil {
		report("database.url", err)
		return
	}
	defer db.Close()
	err = db.Ping(ctx)
	report("database.url: "+string(db.Dialect()), err)
	if err == nil && cfg.Migration.Enabled() && cfg.Migration.State != config.StateDone && !bad.About("session.database") {
		report("session.database: preset "+cfg.Session.Database.Preset, checkTable(ctx, table))
	}
}

func checkApp(ctx context.Context, cfg *config.Config, to *config.Upstream) error {
	one := *cfg
	one.Upstream, one.Rules = to, nil
	forward, err := proxy.NewForwarder(&one, proxy.ForwarderDeps{Clock: time.Now})
	if err != nil {
		return err
	}
	defer forward.Close()
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if err := forward.Reach(ctx); err != nil {
		return fmt.Errorf("%w; start the application, or correct the address", err)
	}
	return nil
}

func checkUsers(path string) (int, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("%w; make it with: gatehouse users add --file %s --email you@example.com", err, path)
	}
	set, err := users.Parse(data)
	if err != nil {
		return 0, err
	}
	return set.Len(), nil
}

func plural(n int, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
