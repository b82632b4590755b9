package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/assertion"
	"gatehouse/config"
	"gatehouse/pages"
	"gatehouse/session"
)

// Forwarder carries requests to the application and its answers back. It is the only part that
// talks to the application: the login backend sends through it too.
type Forwarder struct {
	proxy     httputil.ReverseProxy
	upstreams map[string]*upstream
	rules     *Rules
	scrubber  *Scrubber
	// cookies are the names of those that are no business of the application: ours, and the application's own
	// session cookie once its sessions are (S02).
	cookies []string
	vault   Vault
	streams *Streams
	// security are the headers for browsers that answers get.
	security perRule[*securityHeaders]
	pages    *pages.Pages
	// assertions and secret are nil unless they are set up; assertionName and secretName are canonical.
	assertions                *assertion.Signer
	secret                    *assertion.Secret
	assertionName, secretName string
	log                       zerolog.Logger
	clock                     func() time.Time
	// hop is this process's name in hopHeader: random, so that no client knows it beforehand.
	hop string
}

// ForwarderDeps are the parts a Forwarder works with; Vault may be nil.
type ForwarderDeps struct {
	// Strip names further headers that are removed from every answer: those in which the application
	// tells the gateway alone who has logged in (I09).
	Strip   []string
	Cookies session.Cookies
	// AppCookie is nil unless sessions move from the application's table.
	AppCookie *session.AppCookie
	Vault     Vault
	// Assertions signs who the user is, and Secret is what the application knows the gateway by; both may be nil.
	Assertions *assertion.Signer
	Secret     *assertion.Secret
	Streams    *Streams
	Pages      *pages.Pages
	Log        zerolog.Logger
	Clock      func() time.Time
}

func ownCookies(ours session.Cookies, app *session.AppCookie) []string {
	if app.Forward() {
		return []string{ours.Name()}
	}
	return []string{ours.Name(), app.Name()}
}

func (f *Forwarder) cutCookies(h http.Header) {
	for _, name := range f.cookies {
		CutCookie(h, name)
	}
}

func (f *Forwarder) dropSetCookies(h http.Header) {
	for _, name := range f.cookies {
		DropSetCookie(h, name)
	}
}

// NewForwarder makes a Forwarder for the configured upstreams. It fails when a file of
// upstream_tls cannot be read.
func NewForwarder(cfg *config.Config, deps ForwarderDeps) (*Forwarder, error) {
	rules, err := NewRules(cfg.Rules, cfg.Default)
	if err != nil {
		return nil, err
	}
	f := &Forwarder{
		upstreams:     make(map[string]*upstream),
		rules:         rules,
		scrubber:      newScrubber(cfg, deps.Strip...),
		cookies:       ownCookies(deps.Cookies, deps.AppCookie),
		vault:         deps.Vault,
		assertions:    deps.Assertions,
		secret:        deps.Secret,
		assertionName: http.CanonicalHeaderKey(cfg.Assertion.Header),
		secretName:    http.CanonicalHeaderKey(cfg.IdentitySecretHeader.Name),
		streams:       deps.Streams,
		security:      newSecurityHeaders(cfg.SecurityHeaders, rules),
		pages:         deps.Pages,
		log:           deps.Log,
		clock:         deps.Clock,
	}
	add := func(to *config.Upstream) error {
		if to == nil || f.upstreams[to.String()] != nil {
			return nil
		}
		up, err := newUpstream(to, cfg.UpstreamTLS, cfg.Timeouts)
		f.upstreams[to.String()] = up
		return err
	}
	f.hop = rand.Text()
	if err := add(cfg.Upstream); err != nil {
		return nil, err
	}
	f.upstreams[""] = f.upstreams[cfg.Upstream.String()]
	for _, rule := range cfg.Rules {
		if err := add(rule.Upstream); err != nil {
			return nil, err
		}
	}
	f.proxy = httputil.ReverseProxy{
		Rewrite:        f.rewrite,
		Transport:      roundTripper{f},
		BufferPool:     &buffers,
		ModifyResponse: f.receive,
		ErrorHandler:   f.Fail,
		ErrorLog:       discardLog,
	}
	return f, nil
}

// ServeHTTP sends the request to its application and answers with what comes back.
func (f *Forwarder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s := stateOf(r)
	if resp, ok := w.(*response); ok {
		s.writer = resp
	}
	if f.upstreamOf(s.decision).http2() {
		f.serveHTTP2(w, r, s)
		return
	}
	f.pass(w, r, s)
}

func (f *Forwarder) pass(w http.ResponseWriter, r *http.Request, s *state) {
	f.proxy.ServeHTTP(w, r)
	if s.trailers {
		f.scrubber.StripTrailer(w.Header())
	}
}

// Close closes idle connections to the applications.
func (f *Forwarder) Close() {
	for _, up := range f.upstreams {
		up.transport.CloseIdleConnections()
		if up.http2() {
			up.grpc.CloseIdleConnections()
		}
	}
}

// rewrite makes the application's request out of the client's. Rewrite and not Director: with
// Director a client deletes the gateway's headers by naming them in Connection (H03).
func (f *Forwarder) rewrite(pr *httputil.ProxyRequest) {
	s := stateOf(pr.In)
	f.dress(pr.Out, s)
	up := f.upstreamOf(s.decision)
	pr.Out.URL = ForwardURL(s.path, up.url)
	if up.http2() {
		dressHTTP2(pr, s)
	}
	f.setCookie(pr.Out.Header, s)
	f.setIdentity(pr.Out.Header, s.session.Record)
	if isWebSocket(pr.In) {
		s.handshake = true
	}
}

// dress sets what every request to an application has, whoever sends it.
func (f *Forwarder) dress(out *http.Request, s *state) {
	h := out.Header
	// Trailers of a request are headers that come after the ones that were scrubbed (H07).
	out.Trailer = nil
	delete(h, "Te")
	delete(h, "Trailer")
	proto := "http"
	if s.HTTPS {
		proto = "https"
	}
	if client := s.client(); client != "" {
		h["X-Forwarded-For"] = []string{client}
	}
	h["X-Forwarded-Host"] = []string{out.Host}
	h["X-Forwarded-Proto"] = []string{proto}
	h[requestIDHeader] = []string{s.ID}
	h[hopHeader] = append(h[hopHeader], f.hop)
	if f.secret != nil {
		h[f.secretName] = []string{f.secret.Value()}
	}
}

// setCookie cuts the gateway's cookie out (S02) and lets the vault replay the application's.
func (f *Forwarder) setCookie(h http.Header, s *state) {
	f.cutCookies(h)
	if f.vault == nil || !s.signedIn() {
		return
	}
	line, err := f.vault.Outgoing(s.session.Record, s.token, s.path.Raw, strings.Join(h["Cookie"], "; "))
	if err != nil {
		// The application's cookies are lost to this request, which is then anonymous to it: its own
		// login page says so better than a failure here could.
		f.log.Error().Err(err).Str("id", s.ID).Str("session", s.Session).Msg("the application's cookies could not be opened")
	}
	if line == "" {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = []string{line}
}

// receive looks the application's answer over before anything of it goes out.
func (f *Forwarder) receive(resp *http.Response) error {
	s := stateOf(resp.Request)
	if resp.StatusCode == http.StatusSwitchingProtocols {
		// An application that switches protocols unasked would get an unjudged connection (X02).
		if !s.handshake || !strings.EqualFold(resp.Header.Get("Upgrade"), "websocket") || !hasToken(resp.Header["Connection"], "upgrade") {
			_ = resp.Body.Close()
			return errors.New("the application switched protocols without being asked to")
		}
		s.upgraded = true
	} else if resp.StatusCode < http.StatusOK || resp.StatusCode > 999 {
		_ = resp.Body.Close()
		return fmt.Errorf("the application answered with status %d, which is none", resp.StatusCode)
	}
	f.clean(resp)
	if !s.upgraded {
		f.security.of(s.decision.Rule).add(resp.Header, s.HTTPS)
		s.relayed = true
	}
	// Only a body without a known length is followed by trailers in HTTP/1.1.
	s.trailers = resp.ContentLength < 0 || resp.ProtoMajor > 1
	f.streams.watch(resp, s)
	if !s.signedIn() {
		if s.writer != nil && s.writer.cookie != nil {
			// A shared cache must not keep the line that clears one client's cookie for all.
			keepPrivate(resp, false)
		}
		return nil
	}
	if f.vault != nil && resp.Header["Set-Cookie"] != nil {
		// Kept even if this client has gone: the application has already made the change.
		ctx := context.WithoutCancel(resp.Request.Context())
		if err := f.vault.Incoming(ctx, s.session.Record, s.token, s.path.Raw, resp.Header); err != nil {
			f.log.Error().Err(err).Str("id", s.ID).Str("session", s.Session).Msg("cookies of the application could not be kept in the session")
		}
	}
	keepPrivate(resp, s.decision.Access == config.Protected)
	return nil
}

// clean removes from an answer what only the gateway may say.
func (f *Forwarder) clean(resp *http.Response) {
	f.dropSetCookies(resp.Header)
	f.scrubber.StripResponse(resp.Header)
	f.scrubber.StripResponse(resp.Trailer)
	delete(resp.Trailer, "Set-Cookie")
	delete(resp.Header, requestIDHeader)
	delete(resp.Header, hopHeader)
}

// Send implements login.Application.
func (f *Forwarder) Send(ctx context.Context, in *http.Request, method, target string, set http.Header, body []byte) (*http.Response, error) {
	s := stateOf(in)
	path, no := JudgeTarget(method, target)
	if no != nil {
		return nil, fmt.Errorf("path %q cannot be sent to the application: %s", target, no.Reason)
	}
	// By its own path: whoami_path may fall under a rule with another upstream than the login's.
	up := f.upstreams[""]
	if decision, no := f.rules.Decide(path); no == nil {
		up = f.upstreamOf(decision)
	}
	out := (&http.Request{
		Method: method, URL: ForwardURL(path, up.url), Host: in.Host, Header: in.Header.Clone(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: http.NoBody, ContentLength: int64(len(body)),
	}).WithContext(ctx)
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body)) // without GetBody, so that it is never sent twice (X10)
	} else {
		delete(out.Header, "Content-Type")
	}
	removeHopByHop(out.Header)
	// net/http takes this header for a licence to repeat a request (X10).
	delete(out.Header, "Idempotency-Key")
	delete(out.Header, "X-Idempotency-Key")
	delete(out.Header, "Expect")
	delete(out.Header, "Content-Length")
	f.dress(out, s)
	f.cutCookies(out.Header)
	for name, values := range set {
		if values == nil {
			delete(out.Header, name)
		} else {
			out.Header[name] = values
		}
	}
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // none, rather than net/http's own
	}
	resp, err := roundTripper{f}.send(out, s, up)
	if err == nil {
		f.dropSetCookies(resp.Header) // S02, whatever becomes of the answer
	}
	return resp, err
}

// Relay implements login.Application.
func (f *Forwarder) Relay(w http.ResponseWriter, r *http.Request, resp *http.Response) {
	removeHopByHop(resp.Header)
	f.clean(resp)
	// The application's login form is a page of its own, to be framed or not.
	s := stateOf(r)
	decision, _ := f.rules.Decide(s.path)
	f.security.of(decision.Rule).add(resp.Header, s.HTTPS)
	s.relayed = true
	for name, values := range resp.Header {
		w.Header()[name] = append(w.Header()[name], values...)
	}
	w.WriteHeader(resp.StatusCode)
	if r.Method == http.MethodHead {
		return
	}
	if _, err := io.Copy(w, resp.Body); err != nil {
		s.Error = "answer cut off: " + err.Error()
		panic(http.ErrAbortHandler) // the client must see that it is not complete (X05)
	}
}

// removeHopByHop deletes what belongs to one connection (RFC 9110, 7.6.1).
func removeHopByHop(h http.Header) {
	for _, line := range h["Connection"] {
		for name := range strings.SplitSeq(line, ",") {
			h.Del(strings.TrimSpace(name))
		}
	}
	for _, name := range []string{"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings"} {
		delete(h, name)
	}
}

// buffers are the copy buffers of answers: without a pool each request costs 32 KiB of garbage.
var buffers = bufferPool{pool: sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}

type bufferPool struct{ pool sync.Pool }

func (p *bufferPool) Get() []byte  { return *p.pool.Get().(*[]byte) }
func (p *bufferPool) Put(b []byte) { p.pool.Put(&b) }

// Reach asks each application for a connection. The error names those that gave none, and why.
func (f *Forwarder) Reach(ctx context.Context) error {
	var errs []error
	for name, up := range f.upstreams {
		if name == "" {
			continue
		}
		conn, err := up.dial(ctx, "tcp", up.address)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, cause(err)))
			continue
		}
		_ = conn.Close()
	}
	return errors.Join(errs...)
}

// cause cuts off a dialling error what its upstream's name says already.
func cause(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}
