package testredis

import (
	"crypto/tls"
	"net"
	"time"
)

// Files are the PEM files of a server that speaks TLS.
type Files struct {
	// CA signed the certificates of the clients and of the other nodes.
	CA string
	// Cert and Key are the server's own, with which it goes to other nodes as well.
	Cert, Key string
}

// TLS makes the server speak TLS and nothing else, to clients and to other nodes. Clients need no certificate.
func TLS(files Files) Option { return func(s *Server) { s.tls = &files } }

// MutualTLS is TLS that asks every client for a certificate.
func MutualTLS(files Files) Option {
	return func(s *Server) { s.tls, s.mutual = &files, true }
}

// ports are the settings that say where the server listens, and how.
func (s *Server) ports(port string) [][]string {
	if s.tls == nil {
		return [][]string{{"port", port}}
	}
	clients := "no"
	if s.mutual {
		clients = "yes"
	}
	settings := [][]string{
		{"port", "0"}, {"tls-port", port}, {"tls-replication", "yes"}, {"tls-auth-clients", clients},
		{"tls-cert-file", s.tls.Cert}, {"tls-key-file", s.tls.Key}, {"tls-ca-cert-file", s.tls.CA},
	}
	if s.bus != 0 {
		settings = append(settings, []string{"tls-cluster", "yes"})
	}
	return settings
}

// clientTLS is how this package's own questions reach the server; nil without TLS. They do not look at its
// certificate: tests give servers wrong ones on purpose.
func (s *Server) clientTLS() (*tls.Config, error) {
	if s.tls == nil {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(s.tls.Cert, s.tls.Key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{cert}}, nil
}

// cliTLS are the arguments with which redis-cli reaches the server.
func (s *Server) cliTLS() []string {
	if s.tls == nil {
		return nil
	}
	return []string{"--tls", "--insecure", "--cacert", s.tls.CA, "--cert", s.tls.Cert, "--key", s.tls.Key}
}

func (s *Server) dial() (net.Conn, error) {
	dialer := &net.Dialer{Timeout: time.Second}
	config, err := s.clientTLS()
	if err != nil {
		return nil, err
	}
	if config == nil {
		return dialer.Dial("tcp", s.Addr)
	}
	return tls.DialWithDialer(dialer, "tcp", s.Addr, config)
}
