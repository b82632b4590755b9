package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/config"
)

// Server is a listener with the gateway behind it.
type Server struct {
	http     *http.Server
	listener net.Listener
	gateway  *Gateway
	streams  *Streams
	delay    time.Duration
	shutdown time.Duration
	scheme   string
}

// maxStreams bounds the requests at once on one HTTP/2 connection.
const maxStreams = 100

// Listen takes the address, so that one in use is an error at start, and loads the certificate.
func Listen(cfg *config.Config, gateway *Gateway, streams *Streams, log zerolog.Logger) (*Server, error) {
	s := &Server{gateway: gateway, streams: streams, delay: cfg.ShutdownDelay, shutdown: cfg.ShutdownTimeout, scheme: "http"}
	s.http = &http.Server{
		Handler:           gateway,
		ReadHeaderTimeout: cfg.Timeouts.ReadHeader,
		IdleTimeout:       cfg.Timeouts.Idle,
		// Bodies have deadlines of their own that move on with each piece (body.go, response.go): a
		// WriteTimeout would cut streams.
		// A request between this limit and the configured one still gets a page and a log line.
		MaxHeaderBytes: 2*int(cfg.Limits.MaxHeaderBytes) + int(cfg.Limits.MaxURI),
		ErrorLog:       serverLog(log),
		// OPTIONS * is the gateway's to answer, with its bounds and its log.
		DisableGeneralOptionsHandler: true,

		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// Who vanishes in the middle of a stream that may be quiet for hours (SSE, gRPC) is found out, and so is
			// who stops reading at the level of TCP, where the deadlines of streams do not reach.
			SendPingTimeout:  cfg.Timeouts.Body,
			WriteByteTimeout: cfg.Timeouts.Body,
		},
	}
	if cfg.TLS.Enabled() {
		certs, err := newCertificates(cfg.TLS, gateway.Clock, log)
		if err != nil {
			return nil, err
		}
		s.scheme = "https"
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: certs.get}
	}
	listener, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listen: cannot take %s: %w; stop what is using it, or choose another address with --listen", cfg.Listen, err)
	}
	s.listener = newConnections(listener, cfg, gateway, log)
	checkOpenFiles(cfg.ConnectionLimits.Total, log)
	return s, nil
}

// filesOfItsOwn is what the process opens besides clients' connections and the application's: listeners, stores, the log.
const filesOfItsOwn = 200

// checkOpenFiles tells whether the process may open as many files as the connections can take: without files no connection
// is accepted, and none to the application or Redis is opened for those that are.
func checkOpenFiles(total int, log zerolog.Logger) {
	files, known := maxOpenFiles()
	if need := 2*uint64(max(total, 0)) + filesOfItsOwn; known && total > 0 && files < need {
		log.Warn().Uint64("open_files", files).Uint64("needed", need).Int("connection_limits.total", total).
			Msg("this process may not open as many files as connection_limits.total can take: raise the limit (LimitNOFILE, ulimit -n), or lower connection_limits.total")
	}
}

// URL is where the server answers.
func (s *Server) URL() string { return s.scheme + "://" + s.listener.Addr().String() }

// Serve answers requests until Shutdown or Close, and then returns nil.
func (s *Server) Serve() error {
	serve := s.http.Serve
	if s.scheme == "https" {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown says that the gateway is not ready, waits for shutdown_delay, stops accepting, ends streams, and lets running requests finish for as long as
// shutdown_timeout allows. What still runs then is cut off, and the error says so.
func (s *Server) Shutdown(ctx context.Context) error {
	s.gateway.Drain()
	if s.delay > 0 {
		select {
		case <-time.After(s.delay):
		case <-ctx.Done():
		}
	}
	s.streams.Shutdown()
	ctx, cancel := context.WithTimeout(ctx, s.shutdown)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
		return fmt.Errorf("requests were still running after shutdown_timeout (%s) and were cut off: %w", s.shutdown, err)
	}
	return nil
}

// Close releases the listener of a server that never served.
func (s *Server) Close() error { return s.http.Close() }

// serverLog takes what net/http has to say. TLS handshakes that fail are the internet's noise.
func serverLog(zl zerolog.Logger) *log.Logger {
	return log.New(lineWriter{zl}, "", 0)
}

type lineWriter struct{ log zerolog.Logger }

func (w lineWriter) Write(p []byte) (int, error) {
	line := strings.TrimSpace(string(p))
	e := w.log.Warn()
	if strings.Contains(line, "TLS handshake error") {
		e = w.log.Debug()
	}
	e.Msg(line)
	return len(p), nil
}
