package session

import (
	"errors"
	"regexp"

	"gatehouse/database"
)

// refusedValue is how the text of a [database.Error] ends when it is a data exception (class 22) or
// breaks a constraint (class 23). Older MySQL gives its 1366, "incorrect integer value", no class.
var refusedValue = regexp.MustCompile(`\((?:SQLSTATE 2[23]|error 1366\) \(SQLSTATE HY)[0-9A-Z]{3}\)$`)

// refusesValue reports whether the database refused what was put into a statement, not the statement: a
// text that is no UUID or number where the column is one, longer than the column, naming no user.
// What comes from a cookie can do that, and must not look like an outage.
func refusesValue(err error) bool {
	var refused *database.Error
	return errors.As(err, &refused) && refusedValue.MatchString(refused.Error())
}
