package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
)

func isBadConn(err error) bool {
	return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone)
}

// connectFailure makes our error of a connection that could not be made: always an outage.
func (t *target) connectFailure(err error) error {
	out := &Error{away: true}
	var refused *pgconn.PgError
	var denied *mysql.MySQLError
	switch {
	case errors.As(err, &refused):
		out.state, out.text = refused.Code, refused.Message
		out.text = t.describeRefusal(out)
	case errors.As(err, &denied):
		out.state, out.number, out.text = strings.Trim(string(denied.SQLState[:]), "\x00"), denied.Number, denied.Message
		out.text = t.describeRefusal(out)
	default:
		out.text = t.describe(err)
	}
	return out
}

// describeRefusal says for people why the server serves nobody, and what to do.
func (t *target) describeRefusal(e *Error) string {
	at := func(states []string, numbers ...uint16) bool { return e.contains(states, numbers) }
	switch {
	case at([]string{"53300"}, 1040, 1203, 1226):
		return fmt.Sprintf("%s has too many connections: database.max_connections times the number of replicas, and what the application itself needs, must fit into the server's max_connections", t.where())
	case at([]string{"28P01"}, 1045, 1698) && !tellsTLS(e.text):
		text := fmt.Sprintf("wrong password for user %q at %s: check database.url or database.url_file", t.login.user(), t.where())
		if mode := t.options.Get("tls"); e.number != 0 && (mode == "" || mode == "false") {
			text += "; MariaDB says the same when it demands TLS, which tls=true is for"
		}
		return text
	case at(nil, 3159), tellsTLS(e.text):
		option := "sslmode=verify-full"
		if t.dialect == MySQL {
			option = "tls=true"
		}
		return fmt.Sprintf("%s demands TLS, or a user and host it knows: add %s to database.url", t.where(), option)
	case at([]string{"28000"}, 1130):
		return fmt.Sprintf("%s does not let user %q in from this host: check its rules of access (pg_hba.conf, or the host of the MySQL user)", t.where(), t.login.user())
	case at([]string{"42501"}, 1044):
		return fmt.Sprintf("user %q may not use the database %q at %s", t.login.user(), t.database, t.where())
	case at([]string{"3D000"}, 1049):
		return fmt.Sprintf("there is no database %q at %s: check the name in database.url", t.database, t.where())
	case at([]string{"57P03"}):
		return t.where() + " is starting up or shutting down"
	case at([]string{"57P01", "57P02"}, 1053, 1077, 1079):
		return t.where() + " is shutting down"
	case e.text != "":
		return fmt.Sprintf("%s refuses the connection: %s", t.where(), e.text)
	default:
		return fmt.Sprintf("%s ended the connection", t.where())
	}
}

// tellsTLS: PostgreSQL says of a connection without TLS only that no rule of its pg_hba.conf fits.
func tellsTLS(message string) bool {
	return strings.Contains(message, "no encryption") || strings.Contains(message, "SSL off") || strings.Contains(message, "SSL required")
}

// describe says for people why there was no answer.
func (t *target) describe(err error) string {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var hostname x509.HostnameError
	var authority x509.UnknownAuthorityError
	var plain tls.RecordHeaderError
	var network net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return t.where() + " refuses connections: the database is down, or it is not there"
	case errors.Is(err, syscall.ENOENT) && t.socket != "":
		return fmt.Sprintf("there is no socket at %s: the database is down, or it is not there", t.where())
	case errors.As(err, &dns):
		return fmt.Sprintf("the host %s is not known: %s", t.host, dns.Err)
	case errors.As(err, &certificate), errors.As(err, &hostname), errors.As(err, &authority):
		return fmt.Sprintf("the certificate of %s is not to be trusted: %s", t.where(), verification(err))
	case errors.Is(err, mysql.ErrNoTLS), errors.As(err, &plain), strings.Contains(err.Error(), "server refused TLS"):
		return fmt.Sprintf("%s offers no TLS, which database.url demands", t.where())
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return t.slow()
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return t.where() + " cannot be reached through the network"
	case errors.Is(err, mysql.ErrCleartextPassword), errors.Is(err, mysql.ErrOldPassword), errors.Is(err, mysql.ErrUnknownPlugin):
		return fmt.Sprintf("%s asks for the password of user %q in a way that is not supported: give the user mysql_native_password, caching_sha2_password or ed25519",
			t.where(), t.login.user())
	default:
		return "the connection to " + t.where() + " broke"
	}
}

// slow is said of every kind of silence.
func (t *target) slow() string {
	return fmt.Sprintf("no answer from %s within %s (database.timeout)", t.where(), t.timeout.Round(time.Millisecond))
}

// verification gives the part of an error that says what is wrong with the certificate.
func verification(err error) string {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return certificate.Err.Error()
	}
	return err.Error()
}
