package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"gatehouse/config"
)

// upstream is one application and the connections to it.
type upstream struct {
	url       *url.URL
	address   string
	dial      func(ctx context.Context, network, address string) (net.Conn, error)
	transport *http.Transport
	// grpc has connections of its own for gRPC calls; nil unless the application is asked by HTTP/2.
	grpc *http.Transport
}

// http2 reports whether the application is asked by HTTP/2.
func (up *upstream) http2() bool { return up.grpc != nil }

// Idle connections kept per application. More than are ever busy at once costs little; fewer, and
// every burst leaves sockets in TIME-WAIT until there are no ports (X14).
const maxIdleConns = 1024

func newUpstream(to *config.Upstream, t config.UpstreamTLS, timeouts config.Timeouts) (*upstream, error) {
	dialer := &net.Dialer{Timeout: timeouts.Connect, KeepAlive: 30 * time.Second}
	if to.HTTP2 {
		aliveHTTP2(dialer)
	}
	up := &upstream{url: to.URL, address: to.URL.Host, dial: dialer.DialContext}
	if to.Socket != "" {
		up.address = to.Socket
		up.dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", to.Socket)
		}
	} else if to.URL.Port() == "" {
		up.address = net.JoinHostPort(to.URL.Hostname(), map[string]string{"https": "443"}[to.URL.Scheme])
		if to.URL.Scheme == "http" {
			up.address = net.JoinHostPort(to.URL.Hostname(), "80")
		}
	}
	tlsConfig, err := upstreamTLS(t)
	if err != nil {
		return nil, err
	}
	up.transport = newTransport(up.dial, tlsConfig, timeouts)
	if to.HTTP2 {
		speakHTTP2(up.transport, timeouts, pingEvery)
		up.grpc = newTransport(up.dial, tlsConfig.Clone(), timeouts)
		speakHTTP2(up.grpc, timeouts, pingEveryGRPC)
		// A call whose first answer is long in coming is a quiet stream: many servers send the header with the
		// first message. The client's own deadline ends it.
		up.grpc.ResponseHeaderTimeout = 0
	}
	return up, nil
}

func newTransport(dial func(context.Context, string, string) (net.Conn, error), tlsConfig *tls.Config, timeouts config.Timeouts) *http.Transport {
	return &http.Transport{
		Proxy:                  nil, // an HTTP_PROXY in the environment is not meant for the application (X14)
		DialContext:            dial,
		TLSClientConfig:        tlsConfig,
		TLSHandshakeTimeout:    timeouts.Connect,
		DisableCompression:     true, // the answer is the client's, as it asked for it (X14)
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        timeouts.UpstreamIdle,
		ResponseHeaderTimeout:  timeouts.ResponseHeader,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

func upstreamTLS(t config.UpstreamTLS) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile == "" {
		return cfg, nil
	}
	pem, err := os.ReadFile(t.CAFile)
	if err != nil {
		return nil, fmt.Errorf("upstream_tls.ca_file: %w", err)
	}
	cfg.RootCAs = x509.NewCertPool()
	if !cfg.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("upstream_tls.ca_file: %s holds no PEM certificate", t.CAFile)
	}
	return cfg, nil
}

// upstreamOf is where a request goes: its rule's upstream, else the top-level one.
func (f *Forwarder) upstreamOf(d Decision) *upstream {
	if rule := d.Rule; rule != nil && rule.Upstream != nil {
		return f.upstreams[rule.Upstream.String()]
	}
	return f.upstreams[""]
}

// roundTripper sends each request over its own application's transport, and takes the time.
type roundTripper struct{ f *Forwarder }

// RoundTrip implements http.RoundTripper.
func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	s := stateOf(r)
	return t.send(r, s, t.f.upstreamOf(s.decision))
}

func (t roundTripper) send(r *http.Request, s *state, up *upstream) (*http.Response, error) {
	transport := up.transport
	if s.grpc {
		transport = up.grpc
	}
	s.asked = t.f.clock()
	resp, err := transport.RoundTrip(r)
	s.answered = t.f.clock()
	return resp, presentable(err, up)
}

// errBadAnswer stands for all that net/http says of an answer it cannot read: it quotes the answer,
// cookies included, and errors go into the log.
var errBadAnswer = errors.New("the application's answer is not proper HTTP")

// presentable lets errors pass that hold nothing of the application's answer.
func presentable(err error, up *upstream) error {
	var (
		network  net.Error
		errno    syscall.Errno
		verify   *tls.CertificateVerificationError
		record   tls.RecordHeaderError
		alert    tls.AlertError
		tooLarge *http.MaxBytesError
	)
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &network) || errors.As(err, &errno) || errors.As(err, &verify) || errors.As(err, &record) ||
		errors.As(err, &alert) || errors.As(err, &tooLarge) {
		return err
	}
	if up.http2() {
		return presentableHTTP2(err)
	}
	return errBadAnswer
}
