package session

import (
	"context"
	"errors"

	"gatehouse/database"
)

// epochsTable is the one table the gateway adds: when all sessions of a user were last revoked, in the order
// of all such revocations. The row with the empty user counts them. Beside it, each user who has
// logged in into the application's table has a row; creating a session locks it. The rows stay: there are
// never more than users, and the table is dropped when the migration is over.
const epochsTable = "gatehouse_epochs"

// everybody is the user_id of the row that counts.
const everybody = ""

// ownStatements are those over epochsTable, and the database's clock.
type ownStatements struct {
	now     string
	epoch   string // $1 user_id; epoch and now
	raise   string // $1 user_id, $2 what epoch must be at least; locks the row
	advance string // $1 user_id
	// exact: texts are equal only when they are. MySQL's collations take a for A, and so a user for another.
	exact bool
}

func statementsOf(d database.Dialect) ownStatements {
	const insert = "INSERT INTO " + epochsTable + " (user_id, epoch) VALUES "
	if d == database.MySQL {
		return ownStatements{
			now:     "SELECT UTC_TIMESTAMP(6) AS now",
			epoch:   "SELECT epoch, UTC_TIMESTAMP(6) AS now FROM " + epochsTable + " WHERE user_id = $1",
			raise:   insert + "($1, $2) ON DUPLICATE KEY UPDATE epoch = GREATEST(epoch, $2)",
			advance: insert + "($1, 1) ON DUPLICATE KEY UPDATE epoch = epoch + 1",
		}
	}
	return ownStatements{
		exact:   true,
		now:     "SELECT clock_timestamp() AS now",
		epoch:   "SELECT epoch, clock_timestamp() AS now FROM " + epochsTable + " WHERE user_id = $1",
		raise:   insert + "($1, $2) ON CONFLICT (user_id) DO UPDATE SET epoch = GREATEST(" + epochsTable + ".epoch, $2)",
		advance: insert + "($1, 1) ON CONFLICT (user_id) DO UPDATE SET epoch = " + epochsTable + ".epoch + 1",
	}
}

// Epoch reads how many revocations of all sessions of a user there have been.
func (s *DatabaseStore) Epoch(ctx context.Context) (Epoch, error) {
	if err := s.ready(); err != nil {
		return Epoch{}, err
	}
	n, err := s.epochOf(shared(ctx), s.db, everybody)
	if err != nil {
		return Epoch{}, err
	}
	return Epoch{database: n, hasDatabase: true}, nil
}

func (s *DatabaseStore) epochOf(ctx context.Context, q database.Querier, userID string) (epoch int64, err error) {
	err = q.Query(ctx, s.own.epoch, []any{userID}, func(r *database.Row) error {
		epoch, err = r.Int("epoch")
		return err
	})
	return epoch, s.failed(err)
}

// raise lifts a user's epoch to at least n, and holds the row until the transaction ends.
func (s *DatabaseStore) raise(ctx context.Context, q database.Querier, userID string, n int64) error {
	_, err := q.Exec(ctx, s.own.raise, userID, n)
	if database.IsRefusedValue(err) {
		return ErrInvalidUser
	}
	return s.failed(err)
}

// enter locks the user's row, so that logins and revocations of one user come one after the other, and
// refuses a login that began before the last revocation.
func (s *DatabaseStore) enter(ctx context.Context, tx *database.Tx, userID string, began Epoch) (generation int64, err error) {
	if err := s.raise(ctx, tx, userID, 0); err != nil {
		return 0, err
	}
	if generation, err = s.epochOf(ctx, tx, userID); err != nil {
		return 0, err
	}
	if generation > began.database {
		return generation, ErrSuperseded
	}
	return generation, nil
}

// heal lifts the count to what was seen at a user. If its row was lost while the user's survived, every login
// of that user would begin too early for ever; so the next one passes. When nothing was lost this
// changes nothing.
func (s *DatabaseStore) heal(ctx context.Context, generation int64, err error) error {
	if !errors.Is(err, ErrSuperseded) {
		return err
	}
	if err := s.raise(ctx, s.db, everybody, generation); err != nil {
		return err
	}
	return ErrSuperseded
}
