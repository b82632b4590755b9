package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

// newMySQL prepares connections. sql_mode is left as it is: it decides what the application's data mean.
func newMySQL(t *target) (driver.Connector, error) {
	config := mysql.NewConfig()
	config.DBName = t.database
	config.Net, config.Addr = "tcp", t.where()
	if t.socket != "" {
		config.Net = "unix"
	}
	config.ParseTime, config.Loc = true, time.UTC
	// An UPDATE that sets what is there already found its row, as with PostgreSQL.
	config.ClientFoundRows = true
	config.ConnectionAttributes = "program_name:gatehouse"
	// What the driver has to say comes back as an error too.
	config.Logger = &mysql.NopLogger{}
	// The bound is the context's; these are for what has none, such as the goodbye.
	config.Timeout, config.ReadTimeout, config.WriteTimeout = t.timeout, t.timeout+time.Second, t.timeout+time.Second
	config.Params = sessionSettings(t.timeout)
	if err := mysqlTLS(t, config); err != nil {
		return nil, err
	}
	login := mysql.BeforeConnect(func(_ context.Context, config *mysql.Config) error {
		now := t.login.current()
		config.User, config.Passwd = now.user, now.password
		return nil
	})
	if err := config.Apply(mysql.Charset("utf8mb4", ""), login); err != nil {
		return nil, err
	}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, errors.New("cannot be used by the driver") // its text may hold the URL
	}
	return connector, nil
}

// sessionSettings are made by one SET when a connection begins. The comments are code to the server they
// name: giving up a question only closes the connection, the server would work on, so it is told the bound
// too, which MariaDB and MySQL call by different names. It is a little longer than ours, so that it is never
// in the way of an answer that would have been in time.
func sessionSettings(timeout time.Duration) map[string]string {
	bound := timeout + timeout/4
	return map[string]string{
		// Where a server has it off, what is not inside a transaction would never be committed.
		"autocommit": "1",
		"time_zone": fmt.Sprintf("'+00:00' /*M!100101 , max_statement_time = %s */ /*!50708 , max_execution_time = %d */",
			strconv.FormatFloat(bound.Seconds(), 'f', 3, 64), bound.Milliseconds()),
	}
}

// mysqlTLS reads the option tls: false (the default), true, preferred (TLS if there is any, whoever the
// server is) or skip-verify (TLS, whoever the server is).
func mysqlTLS(t *target, config *mysql.Config) error {
	settings := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.host}
	mode := t.options.Get("tls")
	switch mode {
	case "", "false":
		if t.options.Has("tls_ca") || t.options.Has("tls_cert") {
			return errors.New("has tls_ca or tls_cert, but not tls=true")
		}
		return nil
	case "true":
	case "preferred", "skip-verify":
		settings.InsecureSkipVerify = true // #nosec G402 -- sslmode=require: encrypted, not verified, as the operator asked for
		config.AllowFallbackToPlaintext = mode == "preferred"
	default:
		return fmt.Errorf("has tls=%s: write true, false, preferred or skip-verify", mode)
	}
	if name := t.options.Get("tls_server_name"); name != "" {
		settings.ServerName = name
	}
	if file := t.options.Get("tls_ca"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return fmt.Errorf("tls_ca: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(pem) {
			return fmt.Errorf("tls_ca: %s holds no PEM certificate", file)
		}
	}
	if cert, key := t.options.Get("tls_cert"), t.options.Get("tls_key"); cert != "" || key != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return fmt.Errorf("tls_cert and tls_key: %w", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	config.TLS = settings
	return nil
}
