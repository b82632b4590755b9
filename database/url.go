package database

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"
)

// target is what a URL says, taken apart.
type target struct {
	dialect  Dialect
	login    *login
	host     string // address or name, without port; "" with a socket
	port     string
	socket   string // file (MySQL) or folder (PostgreSQL)
	database string
	options  url.Values
	timeout  time.Duration // of a question; not of the URL
}

// The options a URL may have. Those of PostgreSQL mean what they mean to psql.
var (
	postgresOptions = []string{
		"application_name", "channel_binding", "host", "options", "port", "search_path", "sslcert", "sslkey", "sslmode",
		"sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs",
	}
	mysqlOptions = []string{"socket", "tls", "tls_ca", "tls_cert", "tls_key", "tls_server_name"}
)

const example = "postgres://user:password@host:5432/name or mysql://user:password@host:3306/name" // #nosec G101 -- an example in a message

// parseURL takes a URL apart. Its errors never repeat any of it but scheme and names of options:
// a URL that is not well-formed can have the password anywhere.
func parseURL(text string) (*target, error) {
	if !strings.Contains(text, "://") {
		return nil, errors.New("is no URL: write " + example)
	}
	u, err := url.Parse(text)
	if err != nil || u.Opaque != "" || u.Fragment != "" || u.User == nil && strings.Contains(text, "@") {
		return nil, errors.New("cannot be taken apart into user, password, host and name: in user and password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %25 for % and %20 for a space")
	}
	t := &target{login: newLogin(u.User), host: u.Hostname(), port: u.Port(), database: strings.TrimPrefix(u.Path, "/")}
	allowed := mysqlOptions
	switch u.Scheme {
	case "postgres", "postgresql":
		t.dialect, allowed = Postgres, postgresOptions
	case "mysql", "mariadb":
		t.dialect = MySQL
	default:
		return nil, errors.New("is of a kind that is not known: write " + example)
	}
	if t.options, err = url.ParseQuery(u.RawQuery); err != nil {
		return nil, errors.New("has options behind the ? that are not well-formed: write name=value, several with & between them")
	}
	if err := checkOptions(t.options, allowed); err != nil {
		return nil, err
	}
	return t, t.locate()
}

func checkOptions(options url.Values, allowed []string) error {
	var unknown []string
	for name, values := range options {
		if !slices.Contains(allowed, name) {
			unknown = append(unknown, name)
		} else if len(values) > 1 {
			return fmt.Errorf("has the option %s more than once", name)
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	slices.Sort(unknown)
	return fmt.Errorf("has an option that is not known: %q; there are %s", unknown, strings.Join(allowed, ", "))
}

// locate finds out where the server is.
func (t *target) locate() error {
	socket, defaultPort := t.options.Get("socket"), "3306"
	if t.dialect == Postgres {
		defaultPort = "5432"
		if host := t.options.Get("host"); strings.HasPrefix(host, "/") {
			socket = host
		} else if host != "" {
			t.host = host
		}
		if port := t.options.Get("port"); port != "" {
			t.port = port
		}
	}
	t.socket = socket
	if t.port == "" {
		t.port = defaultPort
	}
	switch {
	case socket != "":
		t.host = ""
	case t.host == "":
		return errors.New("names no host: write " + example)
	}
	if t.database == "" {
		return errors.New("names no database behind the host: write " + example)
	}
	if t.login.first.user == "" {
		return errors.New("names no user before the host: write " + example)
	}
	return nil
}

// where names the server for people.
func (t *target) where() string {
	if t.socket != "" {
		return t.socket
	}
	return net.JoinHostPort(t.host, t.port)
}
