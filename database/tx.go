package database

import (
	"context"
	"database/sql"
)

// Tx is a transaction, at isolation READ COMMITTED. It must not be used by two goroutines at once.
type Tx struct {
	db     *DB
	ctx    context.Context
	conn   *sql.Conn
	failed error // of the first statement that did; PostgreSQL does nothing more in the transaction then
}

// How a transaction begins. Each is one statement with the limit of a question. database/sql's own transactions
// have one context for the whole: a slow f would lose its transaction, or a COMMIT could hang for ever.
var begin = map[Dialect][]string{
	Postgres: {"BEGIN ISOLATION LEVEL READ COMMITTED"},
	MySQL:    {"SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "START TRANSACTION"},
}

// Tx runs f in one transaction: committed when f returns nil, rolled back else, with f's error. When
// the commit's answer is lost the error is ErrUnavailable and the transaction may have happened.
// After a statement that failed nothing is committed, in either dialect, even when f returns nil: the error
// is the statement's then.
func (d *DB) Tx(ctx context.Context, f func(*Tx) error) error {
	return d.use(ctx, func(l *limit, conn *sql.Conn) error {
		t := &Tx{db: d, ctx: ctx, conn: conn}
		committed := false
		defer func() { t.end(committed) }() // also when f panics
		for _, statement := range begin[d.target.dialect] {
			if err := t.run(l, statement); err != nil {
				return err
			}
		}
		if err := f(t); err != nil {
			return err
		}
		if t.failed != nil {
			return t.failed
		}
		// f may have taken longer than one question has.
		l = d.limit(ctx)
		defer l.cancel()
		err := t.run(l, "COMMIT")
		committed = err == nil
		return err
	})
}

func (t *Tx) run(l *limit, statement string) error {
	_, err := t.conn.ExecContext(l.ctx, statement)
	return t.db.outcome(l, t.conn, err, nil)
}

// end rolls back what was not committed. A connection whose transaction may still be open must not be used for
// anything else.
func (t *Tx) end(committed bool) {
	if committed {
		return
	}
	// Without the caller's deadline, which may be the reason.
	l := t.db.limit(context.WithoutCancel(t.ctx))
	defer l.cancel()
	if _, err := t.conn.ExecContext(l.ctx, "ROLLBACK"); err != nil {
		discard(t.conn)
	}
}

// Query, see Querier.
func (t *Tx) Query(ctx context.Context, query string, args []any, each func(*Row) error) error {
	rows, err := t.query(ctx, query, args)
	if err != nil {
		return err
	}
	return rows.each(each)
}

func (t *Tx) query(ctx context.Context, query string, args []any) (rows *answer, err error) {
	err = t.try(ctx, func(l *limit) (err error) {
		rows, err = t.db.query(l, t.conn, query, args)
		return err
	})
	return rows, err
}

// Exec, see Querier.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (n int64, err error) {
	err = t.try(ctx, func(l *limit) (err error) {
		n, err = t.db.exec(l, t.conn, query, args)
		return err
	})
	return n, err
}

func (t *Tx) try(ctx context.Context, ask func(*limit) error) error {
	if t.failed != nil {
		return &Error{text: "a statement of this transaction has failed, it does nothing more"}
	}
	l := t.db.limit(ctx)
	defer l.cancel()
	t.failed = ask(l)
	return t.failed
}
