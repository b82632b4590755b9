package command

import (
	"context"
	"errors"
	"os"
	"strings"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/telemetry"
)

// configFlags are the flags of every command that reads the configuration.
type configFlags struct{ file, listen, upstream string }

func (f *configFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVarP(&f.file, "config", "c", "", "YAML `file` with the settings")
	cmd.Flags().StringVar(&f.listen, "listen", "", "`address` to accept connections on, instead of the file's (port 0 picks a free one)")
	cmd.Flags().StringVar(&f.upstream, "upstream", "", "`URL` of the application, instead of the file's (http, https or unix:/path)")
}

// load reads the settings. Without a file it is the quick way of trying the gateway: an embedded
// store unless the environment names a Redis.
func (f *configFlags) load() (*config.Config, error) {
	if f.file == "" && f.upstream == "" && os.Getenv("GATEHOUSE_UPSTREAM") == "" {
		return nil, errors.New("nothing to serve: give --config FILE, or --upstream URL to try it without one")
	}
	over := make(map[string]any)
	if f.listen != "" {
		over["listen"] = f.listen
	}
	if f.upstream != "" {
		over["upstream"] = f.upstream
	}
	if f.file == "" {
		unlessInEnvironment(over, "redis.addresses", []string{"embedded"})
		if os.Getenv("GATEHOUSE_TLS_CERT_FILE") == "" && !strings.HasPrefix(os.Getenv("GATEHOUSE_PUBLIC_URL"), "https:") {
			// Plain http: browsers would not send a Secure cookie back.
			unlessInEnvironment(over, "session.cookie.secure", false)
		}
	}
	return config.Load(config.Options{File: f.file, Overrides: over})
}

func unlessInEnvironment(over map[string]any, key string, value any) {
	if _, set := os.LookupEnv("GATEHOUSE_" + strings.ToUpper(strings.ReplaceAll(key, ".", "_"))); !set {
		over[key] = value
	}
}

func newServeCommand() *cobra.Command {
	var flags configFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the gateway",
		Long: `Runs the gateway until SIGINT or SIGTERM, then finishes what runs (shutdown_timeout).

Every key of the file can be set in the environment too, which wins over the file:
redis.password is GATEHOUSE_REDIS_PASSWORD, session.idle is GATEHOUSE_SESSION_IDLE.
Flags win over both.`,
		Example: `  gatehouse serve --config gatehouse.yaml
  gatehouse serve --config gatehouse.yaml --listen 0.0.0.0:8080
  GATEHOUSE_REDIS_PASSWORD_FILE=/run/secrets/redis gatehouse serve --config gatehouse.yaml
  gatehouse serve --upstream http://127.0.0.1:3000`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := flags.load()
			if err != nil {
				return err
			}
			log, err := telemetry.NewLogger(os.Stderr, cfg.Log.Level, cfg.Log.Format)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), cfg, log, flags)
		},
	}
	flags.register(cmd)
	return cmd
}

// serve runs the gateway until ctx is done.
func serve(ctx context.Context, cfg *config.Config, log zerolog.Logger, flags configFlags) error {
	warnings(cfg, log, flags.file == "")
	g, err := newGateway(ctx, cfg, log)
	if err != nil {
		return err
	}
	announce(g, cfg, log)
	if g.stores.migrating != nil {
		g.stores.migrating.StartCleanup(cfg.Session.Database.CleanupEvery, cfg.Session.Database.CleanupBatch)
	}
	if g.stores.migrating != nil && flags.file != "" {
		go followConfig(ctx, flags, cfg, g.stores.migrating, log)
	}
	return errors.Join(g.Run(ctx), g.Close())
}

// warnings says loudly what must not go into production.
func warnings(cfg *config.Config, log zerolog.Logger, quick bool) {
	if cfg.Redis.Embedded() {
		log.Warn().Msg("EMBEDDED STORE: sessions are kept in this process, for trying out only. They are lost when it ends, and other replicas do not see them. Set redis.addresses for anything else.")
	}
	if quick {
		log.Warn().Str("users", cfg.Login.File.Path).Msg("no --config: every path is protected, and users come from the file named here; add one with `gatehouse users add --file " + cfg.Login.File.Path + " --email you@example.com`")
	}
	if !cfg.Session.Cookie.Secure {
		log.Warn().Msg("session.cookie.secure is off: the session cookie travels over plain http, where others can read it")
	}
	if hsts := cfg.SecurityHeaders.HSTS; hsts != nil && *hsts > 0 && len(cfg.TrustedProxies) == 0 && !cfg.TLS.Enabled() {
		log.Warn().Msg("security_headers.hsts is never sent: neither tls nor trusted_proxies is set, so no request is known to be https")
	}
	readableByAll(log, map[string]string{"assertion.key_file": cfg.Assertion.KeyFile, "identity_secret_header.secret_file": cfg.IdentitySecretHeader.SecretFile})
	if len(cfg.TrustedProxies) == 0 && !cfg.TLS.Enabled() && cfg.PublicURL != nil && cfg.PublicURL.Scheme == "https" {
		log.Warn().Msg("public_url is https, but neither tls nor trusted_proxies is set: the application is told X-Forwarded-Proto: http, and every client seems to have the address of your TLS proxy; list that proxy in trusted_proxies")
	}
}

// readableByAll says of each file with a secret that others on this machine may read it: whoever reads assertion.key_file can
// be anybody to the application.
func readableByAll(log zerolog.Logger, files map[string]string) {
	for key, file := range files {
		if info, err := os.Stat(file); err == nil && info.Mode().Perm()&0o004 != 0 {
			log.Warn().Str("file", file).Msg(key + " can be read by every user of this machine, who can then be anybody to the application: chmod 600, and let the file belong to the gateway's user")
		}
	}
}

// announce is the line that says the gateway is up, and where.
func announce(g *gateway, cfg *config.Config, log zerolog.Logger) {
	e := log.Info().Str("version", versionText()).Str("url", g.server.URL()).Str("upstream", cfg.Upstream.String()).
		Str("default", string(cfg.Default)).Int("rules", len(cfg.Rules)).Str("login", cfg.Login.Backend).
		Str("redis", cfg.Redis.Where())
	if g.stores.migrating != nil {
		e.Stringer("migration", g.stores.migrating.Setting())
	}
	if g.admin != nil {
		e.Str("admin", g.admin.URL())
	}
	e.Msg("listening")
}
