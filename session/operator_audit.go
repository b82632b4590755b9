package session

import (
	"cmp"
	"context"
	"slices"
	"time"
)

// Kind is what is wrong with a record or an index.
type Kind string

// The kinds an audit finds.
const (
	// KindUnindexed: a live session is not in its user's index, so neither list nor revoke-user sees it.
	KindUnindexed Kind = "unindexed"
	// KindEntryEarly: its entry in the index expires before it does.
	KindEntryEarly Kind = "entry_early"
	// KindIndexEarly: the whole index expires before it does.
	KindIndexEarly Kind = "index_early"
	// KindEndless: the record has no time to live, so Redis keeps it for ever.
	KindEndless Kind = "record_endless"
	// KindCorrupt: the record cannot be read. To the gateways it is no session.
	KindCorrupt Kind = "corrupt"
	// KindMisplaced: a record is under the key of another session or user. To the gateways it is no session.
	KindMisplaced Kind = "misplaced"
	// KindDead: an entry of the index has no record, and its time is not over.
	KindDead Kind = "dead_entry"
	// KindIndexEndless: the index has no time to live.
	KindIndexEndless Kind = "index_endless"
	// KindIndexType: where the index should be is something else. The user can neither log in nor be revoked.
	KindIndexType Kind = "index_type"
	// KindIndexMisplaced: an index is under another user's tag, where nobody looks.
	KindIndexMisplaced Kind = "index_misplaced"
)

// kindText says what was found, what a repair has done and why one leaves it alone; "" where it does not.
var kindText = map[Kind]struct{ found, repaired, left string }{
	KindUnindexed:      {"a live session is not in its user's index: list and revoke-user do not see it", "put into the index", ""},
	KindEntryEarly:     {"the session's entry in the index expires before the session", "the entry was given the session's expiry", ""},
	KindIndexEarly:     {"the index expires before the session", "the index was prolonged", ""},
	KindEndless:        {"the record never expires", "given the time to live the session has left", ""},
	KindCorrupt:        {"the record cannot be read and counts as no session", "", "it may be a newer gateway's, and what it said is not known; delete the key if you run no newer version"},
	KindMisplaced:      {"the record is under another session's or user's key and counts as no session", "deleted, and its entry in the index", ""},
	KindDead:           {"an entry of the index has no record", "the entry was taken out", ""},
	KindIndexEndless:   {"the index never expires", "given the time to live of its last entry", ""},
	KindIndexType:      {"where the user's index should be is a key of another type: the user cannot log in", "deleted; the user's sessions were indexed anew", ""},
	KindIndexMisplaced: {"an index under another user's tag, where nobody looks", "deleted", ""},
}

// maxFindings bounds those that are told one by one.
const maxFindings = 1000

// Finding is one thing an audit has found.
type Finding struct {
	Kind Kind `json:"kind"`
	// Session is the session's ID, "" where there is none.
	Session string `json:"session,omitempty"`
	// UserID as the record or the index names it, "" if it cannot be read.
	UserID string `json:"userId,omitempty"`
	// Key is the key in Redis.
	Key  string `json:"key"`
	What string `json:"what"`
	// Repaired, and Done says how; otherwise Hint says what else can be done.
	Repaired bool   `json:"repaired"`
	Done     string `json:"done,omitempty"`
	Hint     string `json:"hint,omitempty"`
}

// AuditReport is what an audit has found.
type AuditReport struct {
	// Sessions are the records that can be read, Indexes the users' indexes, Entries what is in those.
	Sessions int64 `json:"sessions"`
	Indexes  int64 `json:"indexes"`
	Entries  int64 `json:"entries"`
	// Expired entries are of sessions that have ended by themselves: they go with their user's next login, and are no problem.
	Expired int64 `json:"expired"`
	// Foreign keys look like ours and are not; they are left alone and are no problem.
	Foreign int64 `json:"foreign"`
	// Problems found, of which Repaired.
	Problems int64 `json:"problems"`
	Repaired int64 `json:"repaired"`
	// Kinds is how many of each.
	Kinds map[Kind]int64 `json:"kinds"`
	// Findings are the first thousand of them.
	Findings []Finding `json:"findings"`
}

// audit is one run.
type audit struct {
	s        *RedisStore
	policy   policy
	clock    Clock
	repair   bool
	progress func(done, total int64)
	report   *AuditReport
	// early are the users whose index is known to end early; dropped are IDs of misplaced records that were deleted.
	early   map[string]struct{}
	dropped map[Tag][]string
}

// Audit compares Redis's records with its indexes, both ways, and heals what can be healed with repair. It may run
// while gateways do: what looks wrong at first is judged by a script in one step, which heals it in
// the same step, and never writes a record. progress is as in Each. ErrUnavailable; ctx's error; what was found
// and repaired before is in the report then too.
func (o *Operator) Audit(ctx context.Context, repair bool, progress func(done, total int64)) (*AuditReport, error) {
	a := &audit{policy: o.m.policy, clock: o.m.clock, repair: repair, progress: progress}
	a.report = &AuditReport{Kinds: map[Kind]int64{}, Findings: []Finding{}}
	a.early, a.dropped = map[string]struct{}{}, map[Tag][]string{}
	if a.s = o.redis; a.s == nil {
		return a.report, unavailable(errWithoutScan)
	}
	// The indexes first: where a key of another type stands in an index's place, the sessions can only be
	// put into the index when that is gone.
	if err := a.s.walk(ctx, a.s.keys.indexes(), a.part(0), a.indexes); err != nil {
		return a.report, err
	}
	err := a.s.walk(ctx, a.s.keys.sessions(), a.part(1), a.sessions)
	if err == nil && len(a.dropped) > 0 {
		err = a.s.walk(ctx, a.s.keys.indexes(), nil, a.unfile)
	}
	return a.report, err
}

// part is the progress of one of the two walks.
func (a *audit) part(n int64) func(done, total int64) {
	if a.progress == nil {
		return nil
	}
	return func(done, total int64) { a.progress(n*total+done, 2*total) }
}

// found takes note of a finding.
func (a *audit) found(f Finding, healed bool) {
	text := kindText[f.Kind]
	if f.What == "" {
		f.What = text.found
	}
	a.report.Problems++
	a.report.Kinds[f.Kind]++
	if healed {
		a.report.Repaired++
		f.Repaired, f.Done = true, text.repaired
	} else if a.repair {
		f.Hint = cmp.Or(text.left, "it was changed meanwhile; run the audit again")
	}
	if len(a.report.Findings) < maxFindings {
		a.report.Findings = append(a.report.Findings, f)
	}
}

// remaining is the time to live of a record that has lost it. The clocks of two machines may differ: one that
// seems to be over stays for as long as that may be wrong.
func (a *audit) remaining(rec *Record) time.Duration {
	now := a.clock()
	left := min(a.policy.idle-now.Sub(rec.LastAccessed), rec.ExpiresAt.Sub(now), a.policy.idle)
	return max(left, clockTolerance)
}

// drop deletes a key that is still what was seen: a string with that value, or of the type.
func (a *audit) drop(name, kind, value string) (bool, error) {
	if !a.repair {
		return false, nil
	}
	answer, err := a.s.exec(a.s.scripts.drop, []string{name}, []string{kind, value})
	return err == nil && slices.Equal(answer, []string{"ok"}), err
}
