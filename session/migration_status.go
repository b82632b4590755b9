package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"gatehouse/config"
)

// Status is what `gatehouse migrate status` tells.
type Status struct {
	// Setting is what replicas go by whose file is this one; Shared is what `migrate set` wrote, nil if nothing.
	Setting Setting `json:"setting"`
	File    Setting `json:"file"`
	Shared  *Shared `json:"shared,omitempty"`
	// Database and Redis are nil when that store could not be asked; then Errors says why.
	Database *Counts          `json:"database,omitempty"`
	Redis    *RedisCounts     `json:"redis,omitempty"`
	LastHour map[string]int64 `json:"lastHour,omitempty"`
	Backfill *Progress        `json:"backfill,omitempty"`
	Errors   []string         `json:"errors,omitempty"`
	// Unknown: Redis could not be asked, so only the file's state is known, and what gateways are in is not.
	Unknown bool `json:"unknown,omitempty"`
	// Next is the state that comes after this one, "" after done. Safe: nothing speaks against it;
	// else Why says what does.
	Next string   `json:"next,omitempty"`
	Safe bool     `json:"safe"`
	Why  []string `json:"why,omitempty"`
}

// RedisCounts are the sessions in Redis.
type RedisCounts struct {
	// Sessions in all, of which Moved have come over and Copies only count together with their rows.
	Sessions int64 `json:"sessions"`
	Moved    int64 `json:"moved"`
	Copies   int64 `json:"copies"`
}

// Status asks both stores how far the migration is.
func (m *MigratingStore) Status(ctx context.Context) Status {
	s := Status{Setting: m.Setting(), File: *m.file.Load()}
	note := func(what string, err error) bool {
		if err != nil {
			s.Errors = append(s.Errors, what+": "+err.Error())
		}
		return err == nil
	}
	var err error
	if s.Shared, err = m.redis.Shared(ctx); note("Redis", err) {
		s.LastHour, err = m.redis.MigrationCounts(ctx)
		note("Redis", err)
		s.Backfill, err = m.redis.Progress(ctx)
		note("Redis", err)
		counts, err := m.redis.count(ctx)
		if note("Redis", err) {
			s.Redis = &counts
		}
	}
	if counts, err := m.table.Count(ctx); err == nil {
		s.Database = &counts
	} else if s.Setting.State != config.StateDone {
		note("database", err) // in state done the table may be gone
	}
	if s.Unknown = s.Redis == nil; s.Unknown {
		s.Why = []string{"Redis cannot be asked"}
		return s
	}
	s.Next, s.Why = s.judge()
	s.Safe = s.Next != "" && len(s.Why) == 0
	return s
}

func (s *RedisStore) count(ctx context.Context) (RedisCounts, error) {
	var n RedisCounts
	err := s.Each(ctx, func(rec *Record, err error) error {
		if err != nil {
			return nil // no session
		}
		n.Sessions++
		switch rec.Database {
		case DatabaseMoved:
			n.Moved++
		case DatabaseCopy:
			n.Copies++
		}
		return nil
	})
	return n, err
}

// judge says what comes next, and everything that speaks against it.
func (s Status) judge() (next string, why []string) {
	against := func(is bool, format string, args ...any) {
		if is {
			why = append(why, fmt.Sprintf(format, args...))
		}
	}
	live := int64(0)
	if s.Database != nil {
		live = s.Database.Live
	}
	left := live > 0 // else what was found in the database an hour ago is there no more
	hour := func(name string) int64 { return s.LastHour[name] }
	against(s.Redis == nil, "Redis cannot be asked")
	against(s.Database == nil && s.Setting.State != config.StateDone, "the database cannot be asked")
	against(hour(statErrors) > 0, "%d questions to a store failed within the last hour", hour(statErrors))
	switch s.Setting.State {
	case config.StateLegacy:
		next = config.StateShadow
	case config.StateShadow:
		next = config.StateCanary
		against(hour(statCopyErrors) > 0, "%d new sessions could not be copied to Redis within the last hour", hour(statCopyErrors))
		against(hour(statMismatches) > 0, "%d copies differed from their rows within the last hour", hour(statMismatches))
		against(hour(statCompared) == 0, "no copy has been compared with its row within the last hour; wait until people have logged in and come back")
	case config.StateCanary:
		next = config.StatePrimary
		against(hour(statImportErrors) > 0, "%d sessions could not come over within the last hour", hour(statImportErrors))
		against(s.Setting.Percent > 0 && hour(statImports) == 0, "no session has come over within the last hour")
		against(s.Setting.Percent == 0, "no user's sessions are in Redis yet; raise the percentage first")
	case config.StatePrimary:
		next = config.StateDrain
		against(hour(statImportErrors) > 0, "%d sessions could not come over within the last hour", hour(statImportErrors))
		against(left && hour(statDatabaseHits) > 0, "%d sessions were still only in the database within the last hour; wait, or bring the rest over with gatehouse migrate backfill", hour(statDatabaseHits))
	case config.StateDrain:
		next = config.StateDone
		against(left, "%d live sessions are only in the database, and would end; bring them over with gatehouse migrate backfill, or wait until they expire", live)
	}
	return next, why
}

// CountTable counts the rows. ErrUnavailable.
func (m *MigratingStore) CountTable(ctx context.Context) (Counts, error) { return m.table.Count(ctx) }

// Forward reports whether going from one state to another is going on, rather than back.
func Forward(from, to string) bool {
	order := []string{config.StateLegacy, config.StateShadow, config.StateCanary, config.StatePrimary, config.StateDrain, config.StateDone}
	return slices.Index(order, to) > slices.Index(order, from)
}

// ErrSteps: the state cannot be reached from the present one.
var ErrSteps = errors.New("not from here")

// CheckStep says what speaks against going from one state to another. Back is always possible; done
// has only drain for a neighbour, in both directions: drain is where sessions that were left behind still come over.
func CheckStep(from, to string) error {
	if from != to && (to == config.StateDone && from != config.StateDrain || from == config.StateDone && to != config.StateDrain) {
		return fmt.Errorf("%w: from %s go to drain first, and from there to %s", ErrSteps, from, to)
	}
	return nil
}

// CheckSetting says what is wrong with a setting as such.
func CheckSetting(s Setting, m *MigratingStore) error {
	switch {
	case !known(s.State):
		return fmt.Errorf("%q is no state of the migration; use legacy, shadow, canary, primary, drain or done", s.State)
	case s.Percent < 0 || s.Percent > 100:
		return fmt.Errorf("--percent %d: use 0 to 100", s.Percent)
	case !m.table.CanInsert() && (s.State == config.StateLegacy || s.State == config.StateShadow || s.State == config.StateCanary):
		return fmt.Errorf("in state %s new sessions go into the table, and those of this session.database.preset can only be read; use primary", s.State)
	}
	return nil
}
