package database

import (
	"context"
	"database/sql/driver"
	"encoding/hex"
	"errors"
	"io"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
)

// postgresConnector makes pgx's connections for the pool of database/sql. pgx has such a connector of
// its own; ours differs in what an application's table needs: a string fits a column of any type,
// infinity is a time, and a transaction does not fail because a column was added.
type postgresConnector struct {
	config *pgx.ConnConfig
	target *target
}

// newPostgres prepares connections. The password is kept out of what pgx parses: its errors quote that.
func newPostgres(t *target) (driver.Connector, error) {
	u := url.URL{Scheme: "postgres", User: url.User(t.login.first.user), Path: "/" + t.database}
	options := url.Values{}
	for name, values := range t.options {
		options[name] = values
	}
	options.Set("host", t.host+t.socket)
	options.Set("port", t.port)
	u.RawQuery = options.Encode()
	config, err := pgx.ParseConfig(u.String())
	if err != nil {
		return nil, errors.New("cannot be used: " + afterQuote(err.Error()))
	}
	// The zone of the session stays the database's own, as the application has it: statements can cast by it what
	// the application has written in it. Neither this machine's nor PGTZ decides.
	delete(config.RuntimeParams, "timezone")
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "gatehouse"
	}
	config.ConnectTimeout = 0 // the context has the bound
	config.DialFunc = dialBounded(t.timeout)
	return &postgresConnector{config, t}, nil
}

// afterQuote cuts pgx's repetition of the URL.
func afterQuote(text string) string {
	if i := strings.LastIndex(text, "`: "); i >= 0 {
		return text[i+3:]
	}
	return text
}

// Connect makes a connection.
func (c *postgresConnector) Connect(ctx context.Context) (driver.Conn, error) {
	// The pool makes connections of its own accord too, without a bound.
	ctx, cancel := context.WithTimeout(ctx, c.target.timeout)
	defer cancel()
	config := c.config.Copy()
	now := c.target.login.current()
	config.User = now.user
	if now.password != "" { // else that of the file .pgpass
		config.Password = now.password
	}
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	return &postgresConn{conn: conn, used: time.Now()}, nil
}

// Driver is asked for by nobody.
func (c *postgresConnector) Driver() driver.Driver { return postgresDriver{} }

type postgresDriver struct{}

// Open is for data source names, which there are none of.
func (postgresDriver) Open(string) (driver.Conn, error) { return nil, errors.ErrUnsupported }

// postgresConn is one connection.
type postgresConn struct {
	conn *pgx.Conn
	used time.Time
}

var (
	_ driver.QueryerContext    = (*postgresConn)(nil)
	_ driver.ExecerContext     = (*postgresConn)(nil)
	_ driver.Pinger            = (*postgresConn)(nil)
	_ driver.SessionResetter   = (*postgresConn)(nil)
	_ driver.Validator         = (*postgresConn)(nil)
	_ driver.NamedValueChecker = (*postgresConn)(nil)
)

// idleCheck is how long a connection may have been idle and still be used without asking whether it
// is alive.
const idleCheck = time.Second

// ResetSession is called before a connection is used again.
func (c *postgresConn) ResetSession(ctx context.Context) error {
	if !c.IsValid() {
		return driver.ErrBadConn
	}
	if now := time.Now(); now.Sub(c.used) > idleCheck {
		c.used = now
		return c.Ping(ctx)
	}
	return nil
}

// IsValid reports whether the connection can be used again: not closed, not inside a transaction.
func (c *postgresConn) IsValid() bool {
	return !c.conn.IsClosed() && c.conn.PgConn().TxStatus() == 'I'
}

// Ping asks for a sign of life.
func (c *postgresConn) Ping(ctx context.Context) error {
	if err := c.conn.Ping(ctx); err != nil {
		_ = c.Close()
		return driver.ErrBadConn
	}
	return nil
}

// closeTimeout bounds the goodbye, which only a full send buffer delays.
const closeTimeout = 100 * time.Millisecond

// Close ends the connection.
func (c *postgresConn) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	return c.conn.Close(ctx)
}

// CheckNamedValue lets every argument through as it is: pgx knows what to do.
func (c *postgresConn) CheckNamedValue(*driver.NamedValue) error { return nil }

// Prepare, Begin: database/sql demands them and nobody calls them; statements are prepared by pgx's cache.
func (c *postgresConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }

// Begin, see Prepare.
func (c *postgresConn) Begin() (driver.Tx, error) { return nil, errors.ErrUnsupported }

// ExecContext runs a statement.
func (c *postgresConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	tag, err := c.conn.Exec(ctx, query, c.arguments(nil, args)...)
	if c.isStale(err) {
		tag, err = c.conn.Exec(ctx, query, c.arguments(nil, args)...)
	}
	return driver.RowsAffected(tag.RowsAffected()), err
}

// QueryContext asks a question. The answer is taken as text, which there is of every type.
func (c *postgresConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	ask := func() (*postgresRows, error) {
		formats := pgx.QueryResultFormats{pgx.TextFormatCode}
		rows, err := c.conn.Query(ctx, query, c.arguments(formats, args)...)
		if err != nil {
			return nil, err
		}
		// Errors come with the first row or the lack of it.
		r := &postgresRows{rows: rows, first: true}
		if r.more = rows.Next(); !r.more {
			rows.Close()
		}
		return r, rows.Err()
	}
	rows, err := ask()
	if c.isStale(err) {
		rows, err = ask()
	}
	if err != nil {
		return nil, err
	}
	return rows, nil
}

// isStale reports whether a prepared statement is refused because the table has changed under it. pgx forgets
// the statement then, and it is prepared anew when it is run again; the server has done nothing yet.
func (c *postgresConn) isStale(err error) bool {
	var refused *pgconn.PgError
	return errors.As(err, &refused) && refused.Code == "0A000" && strings.Contains(refused.Routine, "RevalidateCachedQuery") &&
		!c.conn.IsClosed() && !c.inTransaction()
}

func (c *postgresConn) inTransaction() bool { return c.conn.PgConn().TxStatus() != 'I' }

// arguments puts pgx's options before the arguments. A transaction cannot go on after a stale statement, so in
// it none is taken from the cache, which costs one round trip more.
func (c *postgresConn) arguments(formats any, args []driver.NamedValue) []any {
	out := make([]any, 0, len(args)+2)
	if c.inTransaction() && len(args) > 0 {
		out = append(out, pgx.QueryExecModeDescribeExec)
	}
	if formats != nil {
		out = append(out, formats)
	}
	for _, a := range args {
		out = append(out, postgresArgument(a.Value))
	}
	return out
}

// postgresArgument makes text of everything but bytes: the server reads text into a column of any type.
// In times it ignores the zone when the column has none, so they are UTC.
func postgresArgument(value any) any {
	switch v := value.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return v.UTC().Truncate(time.Microsecond).Format("2006-01-02 15:04:05.999999Z07:00")
	default:
		return v
	}
}

// postgresRows is an answer.
type postgresRows struct {
	rows  pgx.Rows
	first bool // the first row is fetched already, if there is more
	more  bool
}

// Columns gives their names.
func (r *postgresRows) Columns() []string {
	fields := r.rows.FieldDescriptions()
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return names
}

// Close ends the answer.
func (r *postgresRows) Close() error {
	r.rows.Close()
	return r.rows.Err()
}

// Next gives the next row.
func (r *postgresRows) Next(dest []driver.Value) error {
	if r.first {
		r.first = false
	} else {
		r.more = r.rows.Next()
	}
	if !r.more {
		if err := r.rows.Err(); err != nil {
			return err
		}
		return io.EOF
	}
	fields := r.rows.FieldDescriptions()
	for i, raw := range r.rows.RawValues() {
		var err error
		if dest[i], err = postgresValue(fields[i].DataTypeOID, raw); err != nil {
			return err
		}
	}
	return nil
}

// postgresValue reads the text of a value; what Row reads itself stays text.
func postgresValue(oid uint32, raw []byte) (driver.Value, error) {
	if raw == nil {
		return nil, nil
	}
	text := string(raw)
	switch oid {
	case pgtype.BoolOID:
		return text == "t", nil
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.OIDOID:
		return strconv.ParseInt(text, 10, 64)
	case pgtype.ByteaOID:
		return hex.DecodeString(strings.TrimPrefix(text, `\x`))
	case pgtype.TimestampOID, pgtype.TimestamptzOID, pgtype.DateOID:
		return parseTime(text)
	default:
		return text, nil
	}
}
