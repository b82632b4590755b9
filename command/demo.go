package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"gatehouse/config"
	"gatehouse/login/password"
	"gatehouse/login/users"
	"gatehouse/sample"
	"gatehouse/telemetry"
)

// demoConfig is the demo's config file, with the application's address and the backend put in. It is
// printed by --print-config, to begin one's own with.
const demoConfig = `listen: %[1]s
upstream: %[2]s
default: public
rules:
  - path: /dashboard
  - path: /account
  - path: /admin
    roles: [admin]
  - path: /events
  - path: /ws
  - path: /api
    unauthenticated: json
login:
  path: /login
  logout_path: /logout
  backend: %[3]s
  file: {path: users.yaml}
  app:
    success: {status: [302], location: ["/dashboard"]}
    identity:
      from: whoami
      whoami_path: /api/me
      fields: {userId: id, email: email, name: name, role: role}
session:
  cookie: {secure: false}   # the demo speaks plain http
redis:
  addresses: [embedded]
pages: {title: Sample application}
`

func newDemoCommand() *cobra.Command {
	var listen, backend string
	var verbose, print bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try the gateway: an embedded store, a sample application, and the gateway before it",
		Example: `  gatehouse demo
  gatehouse demo --listen 127.0.0.1:0      any free port
  gatehouse demo --backend file            the gateway's own login page instead of the application's
  gatehouse demo --print-config            the settings it runs with`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if backend != "app" && backend != "file" {
				return fmt.Errorf("--backend is %q; write app (the application's own login form) or file (the gateway's)", backend)
			}
			if print {
				_, err := fmt.Fprintf(cmd.OutOrStdout(), demoConfig, listen, "http://127.0.0.1:3000", backend)
				return err
			}
			level := "warn"
			if verbose {
				level = "info"
			}
			log, err := telemetry.NewLogger(os.Stderr, level, "auto")
			if err != nil {
				return err
			}
			return runDemo(cmd.Context(), cmd.OutOrStdout(), log, listen, backend)
		},
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "`address` of the gateway (port 0 picks a free one)")
	cmd.Flags().StringVar(&backend, "backend", "app", "who asks for the password: app (the application's own form) or file (the gateway's page)")
	cmd.Flags().BoolVarP(&verbose, "verbose", "v", false, "log every request")
	cmd.Flags().BoolVar(&print, "print-config", false, "print the demo's config file and exit")
	return cmd
}

// runDemo runs application, store and gateway in this process until ctx is done.
func runDemo(ctx context.Context, out io.Writer, log zerolog.Logger, listen, backend string) (err error) {
	app, err := listenSample("127.0.0.1:0", sample.Options{TrustHeaders: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, app.Close()) }()
	go func() { _ = app.serve() }()

	dir, err := os.MkdirTemp("", "gatehouse-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, err := demoSettings(dir, listen, app.url(), backend)
	if err != nil {
		return err
	}
	g, err := newGateway(ctx, cfg, log)
	if err != nil {
		return err
	}
	if err := awaitStore(ctx, g); err != nil {
		return errors.Join(err, g.Close())
	}
	introduce(out, g.server.URL(), backend)
	err = errors.Join(g.Run(ctx), g.Close())
	fmt.Fprintln(out, "\nStopped. Nothing was kept.")
	return err
}

// demoSettings writes the demo's files into dir and loads them like anybody's.
func demoSettings(dir, listen, upstream, backend string) (*config.Config, error) {
	file := filepath.Join(dir, "gatehouse.yaml")
	text := fmt.Sprintf(demoConfig, "127.0.0.1:8080", upstream, backend) // --listen wins over it
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if backend == "file" {
		if err := addDemoUsers(filepath.Join(dir, "users.yaml")); err != nil {
			return nil, err
		}
	}
	// The environment is for the gateway somebody runs, not for this one.
	return config.Load(config.Options{File: file, Env: []string{}, Overrides: map[string]any{"listen": listen}})
}

// awaitStore waits until the embedded store answers, so that the first click does.
func awaitStore(ctx context.Context, g *gateway) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for {
		err := g.sessions.Ready(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func introduce(out io.Writer, url, backend string) {
	form := "the application's own form, which knows nothing of the gateway"
	if backend == "file" {
		form = "the gateway's own page"
	}
	fmt.Fprintf(out, `
Gatehouse is running in front of a sample application:  %[1]s

  Log in as   %[2]s   password  %[3]s   (role %[4]s)
         or   %[5]s    password  %[6]s   (role %[7]s)

Five things to try:
  1. Open %[1]s/account : you are sent to the login form
     (%[8]s), and after login you are back on the page you wanted.
  2. Open %[1]s/echo : the X-User-* headers the application gets. Try to forge one:
     curl -H 'X-User-Id: 1' %[1]s/echo
  3. Open %[1]s/admin as each of the two: only the admin may pass.
  4. Open %[1]s/events , then log out in another tab: the stream ends at once.
  5. Ask as a program does:  curl -i -H 'Accept: application/json' %[1]s/api/time

The store is embedded in this process and for trying out only: every session is gone when it stops.
Ctrl-C stops it.
`, url, sample.Users()[0].Email, sample.Users()[0].Password, sample.Users()[0].Role,
		sample.Users()[1].Email, sample.Users()[1].Password, sample.Users()[1].Role, form)
}

func addDemoUsers(file string) error {
	edit, err := users.Edit(file)
	if err != nil {
		return err
	}
	for _, u := range sample.Users() {
		entry := users.Entry{ID: strconv.FormatInt(u.ID, 10), Email: u.Email, Name: u.Name, Role: u.Role,
			PasswordHash: password.New(u.Password, password.Default())}
		if _, err := edit.Add(entry); err != nil {
			return err
		}
	}
	return edit.Save()
}
