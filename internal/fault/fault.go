// Package fault marks the steps between which a gateway may be killed. A build with the tag
// faultpoints dies at the point that GATEHOUSE_FAULT names; every other build holds nothing of it.
// Timing alone does not hit a gap of microseconds between two commands, and that gap is where halves
// of a session would come from.
package fault

import "slices"

// names are all points: <what is done>.<where>. before and done stand before and after what Redis is asked
// for; the rest say what has happened.
var names = []string{
	// A login makes a session.
	"create.before", "create.need", "create.done",
	"raise.before", "raise.done",
	"login.created", "login.previous",
	// A session in use is prolonged, or its secrets are saved.
	"replace.before", "replace.done",
	// One session ends.
	"logout.refused", "revoke.before", "revoke.done", "logout.revoked",
	// The same while Redis is away.
	"pending.add", "pending.added", "pending.retry", "pending.confirmed",
	// All sessions of a user end.
	"revoke_user.before", "revoke_user.advanced", "revoke_user.need", "revoke_user.done",
	// The index is read, and healed.
	"list.before", "list.read", "list.heal", "list.done",
	// An operator has the index repaired.
	"repair_session.before", "repair_session.done", "repair_index.before", "repair_index.done",
	// A session of the application's comes over.
	"alias.before", "alias.done", "import.brought", "import.committed", "import.flipped",
	"rotate.before", "rotate.done",
}

// panics are the points at which a handler panics instead of dying: a mistake in the code, as there may be one
// anywhere (X15).
var panics = []string{"find.panic"}

// Names gives the names of all points there are to die at.
func Names() []string { return slices.Clone(names) }

// Panics gives the names of all points there are to panic at.
func Panics() []string { return slices.Clone(panics) }
