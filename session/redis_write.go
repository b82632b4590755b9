package session

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"gatehouse/internal/fault"
)

// Create adds rec by one script: one round trip, and two when the user is at the limit.
func (s *RedisStore) Create(_ context.Context, rec *Record, opts CreateOptions) ([]ID, error) {
	raw, err := encodeRecord(rec)
	if err != nil {
		return nil, err
	}
	key := rec.Key()
	stored, err := decodeRecord(raw, key)
	if err != nil {
		return nil, err
	}
	atLimit, replaces := "evict", ""
	var declared []string
	if opts.RejectAtLimit {
		atLimit = "reject"
	}
	if !opts.Replaces.IsZero() {
		replaces = opts.Replaces.String()
		declared = []string{replaces}
	}
	fixed := []string{s.keys.session(key), s.keys.index(rec.User.ID), s.keys.generation(rec.User.ID)}
	args := []string{raw, milliseconds(opts.TTL), strconv.FormatInt(opts.Began.redis, 10), strconv.Itoa(opts.MaxPerUser),
		atLimit, rec.ID.String(), replaces}
	for range needRounds {
		fault.Point("create.before")
		answer, err := s.exec(s.scripts.create, s.declare(fixed, key.Tag, declared), join(args, declared))
		if err != nil {
			return nil, err
		}
		switch answer[0] {
		case "ok":
			fault.Point("create.done")
			ended := s.ended(key.Tag, answer[1:])
			s.remember(key, fixed[0], stored, time.Now())
			return ended, nil
		case "need":
			declared = answer[1:]
			fault.Point("create.need")
			if replaces != "" {
				declared = append(declared, replaces)
			}
		case "superseded":
			return nil, s.superseded(answer)
		case "exists":
			return nil, ErrConflict
		case "limit":
			return nil, ErrLimit
		default:
			return nil, s.surprised(answer)
		}
	}
	return nil, unavailable(fmt.Errorf("the user's sessions keep changing"))
}

// superseded heals the login sequence on the way. If Redis has lost it (a deleted key, a failover) while
// the user's generation survived, every login of that user would begin too early for ever; raised
// to what was seen, the next attempt passes. When nothing was lost this changes nothing.
func (s *RedisStore) superseded(answer []string) error {
	if len(answer) < 2 {
		return s.surprised(answer)
	}
	fault.Point("raise.before")
	if _, err := s.exec(s.scripts.raise, []string{s.keys.sequence()}, answer[1:2]); err != nil {
		return err
	}
	fault.Point("raise.done")
	return ErrSuperseded
}

// Replace writes next over old by one script that compares first.
func (s *RedisStore) Replace(_ context.Context, old, next *Record, ttl time.Duration) error {
	if old.ID != next.ID || old.User.ID != next.User.ID {
		return fmt.Errorf("%w: a session keeps its ID and its user", ErrConflict)
	}
	raw, err := encodeRecord(next)
	if err != nil {
		return err
	}
	key := next.Key()
	stored, err := decodeRecord(raw, key)
	if err != nil {
		return err
	}
	name := s.keys.session(key)
	fault.Point("replace.before")
	answer, err := s.exec(s.scripts.replace, []string{name, s.keys.index(next.User.ID)},
		[]string{old.raw, raw, milliseconds(ttl), next.ID.String()})
	if err != nil {
		return err
	}
	switch {
	case answer[0] == "ok":
		fault.Point("replace.done")
		s.remember(key, name, stored, time.Now())
		return nil
	case answer[0] == "gone":
		s.forget(key)
		return ErrNotFound
	case answer[0] == "conflict" && len(answer) == 2:
		current, err := decodeRecord(answer[1], key)
		if err != nil {
			return err
		}
		return &ConflictError{Current: current}
	default:
		return s.surprised(answer)
	}
}

// Revoke ends one session by one script.
func (s *RedisStore) Revoke(_ context.Context, key Key, userID string) (bool, error) {
	keys := []string{s.keys.session(key)}
	if userID != "" {
		keys = append(keys, s.keys.index(userID))
	}
	// Before the answer: if it is lost the session may be gone all the same, and must not be
	// served as known.
	s.forget(key)
	fault.Point("revoke.before")
	answer, err := s.exec(s.scripts.revoke, keys, []string{key.ID.String()})
	if err != nil {
		return false, err
	}
	fault.Point("revoke.done")
	return len(answer) > 1, nil
}

// RevokeUser raises the login sequence, then ends the sessions and raises the user's generation to
// it in one step. What happens between the two is a login that began before (refused, its epoch is
// older) or after (it is in the index, and ended, or comes after the step and stays). So the
// whole counts as having happened at the first.
func (s *RedisStore) RevokeUser(_ context.Context, userID string, except ...ID) ([]ID, error) {
	fault.Point("revoke_user.before")
	answer, err := s.exec(s.scripts.advance, []string{s.keys.sequence()}, nil)
	if err != nil {
		return nil, err
	}
	if len(answer) < 2 {
		return nil, s.surprised(answer)
	}
	fault.Point("revoke_user.advanced")
	sequence, tag := answer[1], TagOf(userID)
	fixed := []string{s.keys.index(userID), s.keys.generation(userID)}
	var declared []string
	var ended []ID
	for rounds := 0; rounds < needRounds; rounds++ {
		args := []string{sequence, milliseconds(generationTTL), strconv.Itoa(len(declared))}
		args = join(args, declared)
		for _, id := range except {
			args = append(args, id.String())
		}
		answer, err := s.exec(s.scripts.revokeUser, s.declare(fixed, tag, declared), args)
		if err != nil {
			return ended, err
		}
		switch answer[0] {
		case "ok":
			fault.Point("revoke_user.done")
			return append(ended, s.ended(tag, answer[1:])...), nil
		case "more":
			ended, declared, rounds = append(ended, s.ended(tag, answer[1:])...), nil, 0
		case "need":
			fault.Point("revoke_user.need")
			declared = answer[1:]
		default:
			return ended, s.surprised(answer)
		}
	}
	return ended, unavailable(fmt.Errorf("the user's sessions keep changing"))
}

// declare gives a script's keys: the fixed ones, then those of the sessions.
func (s *RedisStore) declare(fixed []string, tag Tag, ids []string) []string {
	keys := make([]string, 0, len(fixed)+len(ids))
	keys = append(keys, fixed...)
	for _, id := range ids {
		keys = append(keys, s.keys.sessionByID(tag, id))
	}
	return keys
}

// ended notes sessions that a script has ended.
func (s *RedisStore) ended(tag Tag, texts []string) []ID {
	var ids []ID
	for _, text := range texts {
		if id, ok := ParseID(text); ok {
			s.forget(Key{Tag: tag, ID: id})
			ids = append(ids, id)
		}
	}
	return ids
}

// surprised is for answers that our own scripts do not give.
func (s *RedisStore) surprised(answer []string) error {
	return unavailable(fmt.Errorf("unexpected answer of a script: %.40q", answer[0]))
}

func join(a, b []string) []string {
	return append(append(make([]string, 0, len(a)+len(b)), a...), b...)
}
