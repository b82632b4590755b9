package session

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"gatehouse/config"
)

func redisTLS(cfg config.Redis) (*tls.Config, error) {
	// The library dials several addresses with one configuration; an empty name means each one's own.
	out := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: cfg.TLS.ServerName}
	if cfg.TLS.CAFile != "" {
		pem, err := os.ReadFile(cfg.TLS.CAFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.ca_file: %w", err)
		}
		out.RootCAs = x509.NewCertPool()
		if !out.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("redis.tls.ca_file: %s holds no PEM certificate", cfg.TLS.CAFile)
		}
	}
	if cfg.TLS.CertFile != "" || cfg.TLS.KeyFile != "" {
		cert, err := tls.LoadX509KeyPair(cfg.TLS.CertFile, cfg.TLS.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls.cert_file and key_file: %w", err)
		}
		out.Certificates = []tls.Certificate{cert}
	}
	return out, nil
}

// describeTLS says what is wrong between us and Redis's TLS, and what to do; "" when it is something else.
func describeTLS(err error) string {
	var (
		authority x509.UnknownAuthorityError
		host      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.Is(err, errNoTLS):
		return err.Error()
	case errors.As(err, &authority):
		return "Redis's certificate is not signed by an authority trusted here, set redis.tls.ca_file to the one that signed it: " + err.Error()
	case errors.As(err, &host):
		return "Redis's certificate is for another name, set redis.tls.server_name to the one it bears, or address Redis by it: " + err.Error()
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "Redis's certificate is not valid now, renew it, or set this machine's clock: " + err.Error()
	}
	return describeRefusal(err)
}

// refusals are what Redis's end says of our certificate, by the alert's words: crypto/tls has no types for them.
var refusals = []struct{ alert, advice string }{
	{"tls: certificate required", "Redis asks for a client certificate, set redis.tls.cert_file and key_file"},
	{"tls: expired certificate", "Redis refuses the client certificate as expired, renew redis.tls.cert_file"},
	{"tls: unknown certificate authority", "Redis does not trust who signed the client certificate, use one that its tls-ca-cert-file signed for redis.tls.cert_file"},
	{"tls: bad certificate", "Redis refuses the client certificate, check redis.tls.cert_file"},
	{"tls: unsupported certificate", "Redis refuses the client certificate, it must be good for clients; check redis.tls.cert_file"},
}

func describeRefusal(err error) string {
	text := err.Error()
	for _, r := range refusals {
		if strings.Contains(text, "remote error: "+r.alert) {
			return r.advice + ": " + text
		}
	}
	return ""
}

var errNoTLS = errors.New("what answers at this address does not speak TLS, set redis.tls.enabled: false, or give Redis's TLS port")

// isUnclear reports whether a connection with TLS broke in a way that does not say why.
func isUnclear(err error) bool {
	var broken *net.OpError
	return errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &broken) && (broken.Op == "read" || broken.Op == "write")
}

// diagnose looks for the reason: a Redis that refuses our certificate says so after we have begun to write, and what the
// library sees is a broken pipe; one without TLS waits for more.
func (l *link) diagnose(err error) error {
	address := l.option.InitAddress[0]
	dialer := l.option.Dialer
	dialer.ControlContext = nil
	one := make([]byte, 1)
	conn, failed := tls.DialWithDialer(&dialer, "tcp", address, l.option.TLSConfig)
	if failed == nil {
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(dialer.Timeout))
		if _, failed = conn.Read(one); failed != nil && describeTLS(failed) != "" {
			return failed
		}
		return err
	}
	if describeTLS(failed) != "" {
		return failed
	}
	plain, failed := dialer.Dial("tcp", address)
	if failed != nil {
		return err
	}
	defer plain.Close()
	_ = plain.SetDeadline(time.Now().Add(dialer.Timeout))
	if _, failed = io.WriteString(plain, "PING\r\n"); failed != nil {
		return err
	}
	// A Redis with TLS says nothing to that, or sends an alert, which begins otherwise.
	if _, failed = io.ReadFull(plain, one); failed == nil && (one[0] == '+' || one[0] == '-') {
		return errNoTLS
	}
	return err
}
