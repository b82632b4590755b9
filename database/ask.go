package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"
)

// Query, see Querier.
func (d *DB) Query(ctx context.Context, query string, args []any, each func(*Row) error) error {
	var rows *answer
	err := d.use(ctx, func(l *limit, conn *sql.Conn) (err error) {
		rows, err = d.query(l, conn, query, args)
		return err
	})
	if err != nil {
		return err
	}
	return rows.each(each)
}

// Exec, see Querier.
func (d *DB) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = d.use(ctx, func(l *limit, conn *sql.Conn) (err error) {
		n, err = d.exec(l, conn, query, args)
		return err
	})
	return n, err
}

// Ping asks for a sign of life, whatever the breaker thinks.
func (d *DB) Ping(ctx context.Context) error {
	l := d.limit(ctx)
	defer l.cancel()
	if err := d.place(l, nil); err != nil {
		return err
	}
	defer d.release()
	conn, err := d.pool.Conn(l.ctx)
	if err != nil {
		return d.target.connectFailure(err)
	}
	defer conn.Close()
	// A statement, because the drivers' own signs of life hide what is wrong.
	_, err = conn.ExecContext(l.ctx, "SELECT 1")
	return d.target.failure(err, nil)
}

// use gives f a connection. The wait for it, making it, and the question share one limit.
func (d *DB) use(ctx context.Context, f func(*limit, *sql.Conn) error) error {
	l := d.limit(ctx)
	defer l.cancel()
	if err := d.admit(l); err != nil {
		return err
	}
	defer d.release()
	conn, err := d.connect(l)
	if err != nil {
		return err
	}
	defer conn.Close()
	return f(l, conn)
}

// limit is the time a question has. A caller who goes away does not end it, because the drivers close
// the connection of a question that is given up: people who abort their requests would make us connect
// anew for each. A deadline of the caller holds.
type limit struct {
	ctx    context.Context
	cancel context.CancelFunc
	caller context.Context
	hurry  bool // the caller's own deadline comes first
}

func (d *DB) limit(caller context.Context) *limit {
	l := &limit{caller: caller}
	end := time.Now().Add(d.target.timeout)
	if own, ok := caller.Deadline(); ok && own.Before(end) {
		end, l.hurry = own, true
	}
	l.ctx, l.cancel = context.WithDeadline(context.WithoutCancel(caller), end)
	return l
}

// admit waits for the place of a connection, unless the database is away, or goes away meanwhile.
func (d *DB) admit(l *limit) error {
	trips := d.breaker.trips()
	select {
	case <-trips:
		return d.breaker.refusal()
	default:
		return d.place(l, trips)
	}
}

func (d *DB) place(l *limit, trips <-chan struct{}) error {
	select {
	case <-d.stop:
		return errClosed
	default:
	}
	select {
	case d.free <- struct{}{}:
		return nil
	case <-d.stop:
		return errClosed
	case <-trips:
		return d.breaker.refusal()
	case <-l.caller.Done():
		return &Error{away: true, cause: l.caller.Err(), text: "the caller did not wait for a connection"}
	case <-l.ctx.Done():
		// No sign of an outage: those who have the connections see for themselves.
		return &Error{away: true, text: fmt.Sprintf("all %d connections to %s were busy for longer than %s (database.max_connections, database.timeout)",
			cap(d.free), d.target.where(), d.target.timeout)}
	}
}

func (d *DB) release() { <-d.free }

var errClosed = &Error{away: true, text: "the connections are closed"}

// connect takes a connection of the pool, or makes one. There is a place for it, so it waits for no other.
func (d *DB) connect(l *limit) (*sql.Conn, error) {
	conn, err := d.pool.Conn(l.ctx)
	if err != nil {
		return nil, d.report(l, d.target.connectFailure(err))
	}
	return conn, nil
}

// outcome makes our error of a driver's, and tells the breaker.
func (d *DB) outcome(l *limit, conn *sql.Conn, err error, args []any) error {
	err = d.target.failure(err, args)
	if isReadOnly(err) {
		// After a failover the server at the other end is a replica: the name may stand for another by now.
		discard(conn)
	}
	return d.report(l, err)
}

// report tells the breaker how a question went. That the caller had less patience than we have is no sign
// of an outage.
func (d *DB) report(l *limit, err error) error {
	var e *Error
	if l.hurry && l.ctx.Err() != nil && errors.As(err, &e) && e.away {
		return &Error{away: true, cause: l.ctx.Err(), text: "no answer from " + d.target.where() + " before the deadline of the caller"}
	}
	d.breaker.report(err)
	return err
}

// discard keeps a connection from being used again.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
}

func (d *DB) query(l *limit, conn *sql.Conn, query string, args []any) (*answer, error) {
	text, used, err := d.prepare(query, args)
	if err != nil {
		return nil, err
	}
	rows, err := conn.QueryContext(l.ctx, text, used...)
	if err != nil {
		return nil, d.outcome(l, conn, err, args)
	}
	defer rows.Close()
	answer, err := read(rows)
	return answer, d.outcome(l, conn, err, args)
}

func (d *DB) exec(l *limit, conn *sql.Conn, query string, args []any) (int64, error) {
	text, used, err := d.prepare(query, args)
	if err != nil {
		return 0, err
	}
	result, err := conn.ExecContext(l.ctx, text, used...)
	if err != nil {
		return 0, d.outcome(l, conn, err, args)
	}
	n, err := result.RowsAffected()
	return n, d.outcome(l, conn, err, args)
}

// prepare gives the statement as the server wants it, and the arguments it uses.
func (d *DB) prepare(query string, args []any) (text string, used []any, err error) {
	s, err := d.rewriter.rewrite(query)
	if err == nil {
		used, err = s.arguments(args)
	}
	if err != nil {
		return "", nil, &Error{text: err.Error()}
	}
	return s.text, used, nil
}

// answer holds all rows, so that the connection is free before anything is done with them.
type answer struct {
	columns map[string]int
	rows    [][]any
}

func read(rows *sql.Rows) (*answer, error) {
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	a := &answer{columns: newColumns(names)}
	for rows.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		a.rows = append(a.rows, values)
	}
	return a, rows.Err()
}

func (a *answer) each(f func(*Row) error) error {
	for _, values := range a.rows {
		if err := f(&Row{columns: a.columns, values: values}); err != nil {
			return err
		}
	}
	return nil
}
