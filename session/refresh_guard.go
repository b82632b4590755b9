package session

import (
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	// maxMissing is how many users in a row may be missing in the backend before that is no longer believed.
	maxMissing = 3
	// missingWindow is how long a missing user counts for that.
	missingWindow = time.Hour
)

// refreshGuard keeps a login backend that has lost its users from logging everybody out: a query that is wrong, a table that is
// empty after a restore that failed. Such a backend answers like one from which a user was deleted, but it does so for
// everybody. So the users who are missing in a row are counted, and once there are more than maxMissing within
// missingWindow, and not one was found among them, no session ends for it until somebody is found.
//
// What that costs: when more than maxMissing users are deleted and nobody else is active, the sessions of the further ones go on
// until somebody else is. What it does not cover: a table that has lost some of its users is believed.
type refreshGuard struct {
	log   zerolog.Logger
	clock Clock

	mu      sync.Mutex
	missing map[string]time.Time // since somebody was found: when first missed
	holding bool
}

func newRefreshGuard(log zerolog.Logger, clock Clock) *refreshGuard {
	return &refreshGuard{log: log, clock: clock, missing: map[string]time.Time{}}
}

// found: the backend knows somebody.
func (g *refreshGuard) found() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holding {
		g.log.Info().Msg("the login backend knows users again: the sessions of those it does not know end")
	}
	g.holding = false
	clear(g.missing)
}

// believes reports whether a user who is missing is gone.
func (g *refreshGuard) believes(userID string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.holding {
		return false
	}
	now := g.clock()
	for id, at := range g.missing {
		if now.Sub(at).Abs() > missingWindow {
			delete(g.missing, id)
		}
	}
	if _, counted := g.missing[userID]; !counted {
		g.missing[userID] = now
	}
	if len(g.missing) <= maxMissing {
		return true
	}
	g.holding = true
	clear(g.missing)
	g.log.Error().Int("missing", maxMissing+1).Msg("the login backend knew none of the last users it was asked about, and nobody else was found: it may have " +
		"lost its users, so no more sessions end for it until it knows somebody. Check login.database.refresh_query and the users table; " +
		"if these users are gone indeed, revoke their sessions")
	return false
}
