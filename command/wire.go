package command

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/admin"
	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/internal/fault"
	"gatehouse/login"
	"gatehouse/login/hashing"
	"gatehouse/pages"
	"gatehouse/proxy"
	"gatehouse/session"
	"gatehouse/telemetry"
)

// gateway is everything `gatehouse serve` runs, joined in one place.
type gateway struct {
	log      zerolog.Logger
	stores   *stores
	sessions *session.Manager
	login    *login.Handler
	forward  *proxy.Forwarder
	streams  *proxy.Streams
	server   *proxy.Server
	admin    *adminServer
	closers  []func() error
}

// clock tells the time to everything that decides by it.
var clock = fault.Clock()

// newGateway builds the gateway and takes its listeners, so that an address in use, a missing file
// or a broken template is an error now. On an error whatever was begun is closed again.
func newGateway(ctx context.Context, cfg *config.Config, log zerolog.Logger) (g *gateway, err error) {
	g = &gateway{log: log}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.Close())
		}
	}()
	metrics := telemetry.NewMetrics()
	views, err := pages.New(cfg.Pages)
	if err != nil {
		return g, err
	}
	options := session.Options{Clock: clock, Log: log, Metrics: metrics, CacheSize: cfg.Session.CacheSize}
	if g.stores, err = openStores(ctx, cfg, options); err != nil {
		return g, err
	}
	if err = g.stores.check(ctx, log); err != nil {
		return g, errors.Join(err, g.stores.close())
	}
	g.sessions = session.NewManager(g.stores.store(), cfg.Session, cfg.Outage, options)
	g.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		return errors.Join(g.sessions.Close(ctx), g.stores.close())
	})
	cookies := session.NewCookies(cfg.Session.Cookie, cfg.Session.Idle)
	g.streams = proxy.NewStreams(g.sessions, metrics)
	g.sessions.OnEnd(g.streams.End)
	g.sessions.OnChange(g.streams.Changed)

	forwarding := proxy.ForwarderDeps{Cookies: cookies, AppCookie: g.stores.appCookie, Streams: g.streams, Pages: views, Log: log, Clock: clock}
	var vault *login.Vault
	if cfg.Login.Backend == "app" {
		vault = login.NewVault(cfg.Login.App.Vault, g.sessions, log, clock)
		forwarding.Vault = vault
		forwarding.Strip = login.IdentityHeaders(cfg.Login.App)
		g.sessions.OnEnd(vault.Forget)
	}
	if err = g.addAssertions(cfg, &forwarding); err != nil {
		return g, err
	}
	if g.forward, err = proxy.NewForwarder(cfg, forwarding); err != nil {
		return g, err
	}
	g.onClose(func() error { g.forward.Close(); return nil })
	hashes := hashing.New(hashCommand, log)
	g.onClose(hashes.Close)
	g.login, err = login.NewHandler(cfg.Login, login.Deps{
		Hashes:   hashes,
		Sessions: g.sessions, Cookies: cookies, AppCookie: g.stores.appCookie, Database: g.stores.login(),
		Pages: views, App: g.forward, Vault: vault, Limits: g.stores.redis,
		Log: log, Metrics: metrics, Clock: clock, PublicURL: cfg.PublicURL, TrustedOrigins: cfg.TrustedOrigins,
	})
	if err != nil {
		return g, err
	}
	g.onClose(g.login.Close)
	g.sessions.RefreshUsers(g.login.Refresh())
	handler := proxy.New(cfg, proxy.Deps{
		Sessions: g.sessions, Cookies: cookies, AppCookie: g.stores.appCookie, Login: g.login, Forward: g.forward, Streams: g.streams,
		Pages: views, Log: log, Metrics: metrics, Clock: clock,
	})
	if g.server, err = proxy.Listen(cfg, handler, g.streams, log); err != nil {
		return g, err
	}
	g.onClose(g.server.Close)
	if cfg.Admin.Listen != "" {
		if g.admin, err = listenAdmin(cfg.Admin, g.sessions, log, metrics); err != nil {
			return g, err
		}
		g.onClose(g.admin.Close)
	}
	return g, nil
}

// addAssertions gives the forwarder what the application may ask for besides the identity headers: signed identity and a shared
// secret.
func (g *gateway) addAssertions(cfg *config.Config, deps *proxy.ForwarderDeps) (err error) {
	if deps.Secret, err = assertion.NewSecret(cfg.IdentitySecretHeader, clock, g.log); err != nil || !cfg.Assertion.Enabled() {
		return err
	}
	if deps.Assertions, err = assertion.New(cfg, clock, g.log); err != nil {
		return err
	}
	g.sessions.OnEnd(func(ids []session.ID) {
		for _, id := range ids {
			deps.Assertions.Forget(id)
		}
	})
	return nil
}

func (g *gateway) onClose(f func() error) { g.closers = append(g.closers, f) }

// Run answers requests until ctx is done, then shuts down in order: not ready, no new connections,
// running requests finish, streams end. Close must follow.
func (g *gateway) Run(ctx context.Context) error {
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	go g.streams.Run(background)
	failed := make(chan error, 2)
	go func() { failed <- g.server.Serve() }()
	if g.admin != nil {
		go func() { failed <- g.admin.Serve() }()
	}
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	g.log.Info().Msg("shutting down: no new connections, running requests finish")
	return g.server.Shutdown(context.WithoutCancel(ctx))
}

// Close releases everything, the last made first, and joins what went wrong.
func (g *gateway) Close() error {
	var errs []error
	for i := len(g.closers) - 1; i >= 0; i-- {
		errs = append(errs, g.closers[i]())
	}
	g.closers = nil
	return errors.Join(errs...)
}

// adminServer is the operator's listener.
type adminServer struct {
	http     *http.Server
	listener net.Listener
}

func listenAdmin(cfg config.Admin, sessions *session.Manager, log zerolog.Logger, metrics *telemetry.Metrics) (*adminServer, error) {
	handler, err := admin.New(cfg, admin.Deps{
		Sessions: session.NewOperator(sessions), Changes: sessions, Pages: telemetry.NewAdmin(metrics), Log: log, Metrics: metrics, Clock: clock,
	})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("admin.listen: cannot take %s: %w; stop what is using it, or choose another address", cfg.Listen, err)
	}
	if at, ok := l.Addr().(*net.TCPAddr); !ok || !at.IP.IsLoopback() {
		log.Warn().Str("address", l.Addr().String()).Msg("the admin listener can be reached from other machines over plain http, where others can read its token: put a TLS proxy in front of it, or keep that network to yourself")
	}
	return &adminServer{listener: l, http: &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}}, nil
}

// URL is where the admin listener answers.
func (a *adminServer) URL() string { return "http://" + a.listener.Addr().String() }

// Serve answers until Close.
func (a *adminServer) Serve() error {
	if err := a.http.Serve(a.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Close ends the listener and its connections: a profile that is being taken is not waited for.
func (a *adminServer) Close() error {
	return errors.Join(a.http.Close(), ignoreClosed(a.listener.Close()))
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
