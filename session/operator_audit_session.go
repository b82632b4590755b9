package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/internal/fault"

	"github.com/redis/rueidis"
)

// auditRounds bounds how often a session is asked about again because it has changed meanwhile.
const auditRounds = 8

// auditSlack is by how much two expiries that are one may differ: they are read one after the other. A session is asked
// about from half of it on.
const auditSlack = time.Second

// heldRecord is a record as it was read.
type heldRecord struct {
	name string
	rec  *Record
	left int64 // its time to live in milliseconds, -1 for none
}

// sessions looks at some of the records.
func (a *audit) sessions(ctx context.Context, at place, names []string) error {
	var cmds rueidis.Commands
	for _, name := range names {
		cmds = append(cmds, at.c.B().Get().Key(name).Build(), at.c.B().Pttl().Key(name).Build())
	}
	replies := at.c.DoMulti(ctx, cmds...)
	var held []heldRecord
	for i, name := range names {
		raw, err := replies[2*i].ToString()
		left, leftErr := replies[2*i+1].AsInt64()
		switch {
		case rueidis.IsRedisNil(err):
			continue
		case isWrongType(err):
			a.unreadable(name, errNoText)
			continue
		case err != nil || leftErr != nil:
			return a.s.stepFailed(ctx, errors.Join(err, leftErr))
		}
		rec, err := a.read(name, raw)
		if err != nil {
			return err
		}
		if rec != nil {
			held = append(held, heldRecord{name: name, rec: rec, left: left})
		}
	}
	a.report.Sessions += int64(len(held))
	return a.compare(ctx, at, held)
}

// read gives the record of a session; nil when it is none, which is told.
func (a *audit) read(name, raw string) (*Record, error) {
	key, ours := a.s.keys.parseSession(name)
	rec, err := parseRecord(raw)
	switch {
	case err != nil:
		a.unreadable(name, err)
		return nil, nil
	case ours && rec.ID == key.ID && TagOf(rec.User.ID) == key.Tag:
		return rec, nil
	}
	healed, err := a.drop(name, "string", raw)
	if healed && ours {
		a.dropped[key.Tag] = append(a.dropped[key.Tag], key.ID.String())
	}
	if err == nil {
		a.found(Finding{Kind: KindMisplaced, Session: rec.ID.String(), UserID: rec.User.ID, Key: name}, healed)
	}
	return nil, err
}

// unreadable is told of keys of our form only: others may be an application's own, and its names secret.
func (a *audit) unreadable(name string, cause error) {
	key, ours := a.s.keys.parseSession(name)
	if !ours {
		a.report.Foreign++
		return
	}
	what := kindText[KindCorrupt].found + ": " + strings.TrimPrefix(cause.Error(), ErrCorrupt.Error()+": ")
	a.found(Finding{Kind: KindCorrupt, Session: key.ID.String(), Key: name, What: what}, false)
}

// compare holds the records against their indexes.
func (a *audit) compare(ctx context.Context, at place, held []heldRecord) error {
	if len(held) == 0 {
		return nil
	}
	clock, err := at.node.Do(ctx, at.node.B().Time().Build()).AsIntSlice()
	if err != nil || len(clock) != 2 {
		return a.s.stepFailed(ctx, errors.Join(err, errors.New("TIME was not answered")))
	}
	now := float64(clock[0])*1000 + float64(clock[1])/1000
	var cmds rueidis.Commands
	for _, h := range held {
		index := a.s.keys.index(h.rec.User.ID)
		cmds = append(cmds, at.c.B().Zscore().Key(index).Member(h.rec.ID.String()).Build(), at.c.B().Pttl().Key(index).Build())
	}
	replies := at.c.DoMulti(ctx, cmds...)
	const slack = float64(auditSlack/time.Millisecond) / 2
	for i, h := range held {
		score, err := replies[2*i].AsFloat64()
		if rueidis.IsRedisNil(err) || isWrongType(err) {
			score, err = 0, nil
		}
		index, indexErr := replies[2*i+1].AsInt64()
		if err := errors.Join(err, indexErr); err != nil {
			return a.s.stepFailed(ctx, err)
		}
		left := float64(h.left)
		if h.left != -1 && score >= now+left-slack && (index == -1 || float64(index) >= left-slack) {
			continue
		}
		if err := a.judgeSession(h.name, h.rec); err != nil {
			return err
		}
	}
	return nil
}

// judgeSession asks the script about a session that looked wrong.
func (a *audit) judgeSession(name string, rec *Record) error {
	key := Key{Tag: TagOf(rec.User.ID), ID: rec.ID}
	for range auditRounds {
		fault.Point("repair_session.before")
		answer, err := a.s.exec(a.s.scripts.auditSession, []string{name, a.s.keys.index(rec.User.ID)},
			[]string{a.repairs(), rec.ID.String(), rec.raw, milliseconds(a.remaining(rec)), milliseconds(auditSlack)})
		if err != nil {
			return err
		}
		switch {
		case answer[0] == "gone":
			return nil
		case answer[0] == "changed" && len(answer) == 2:
			if rec, err = decodeRecord(answer[1], key); err != nil {
				return nil // spoilt this moment: the next audit tells
			}
		case answer[0] == "ok" && len(answer)%2 == 1:
			fault.Point("repair_session.done")
			for i := 1; i < len(answer); i += 2 {
				a.foundOf(rec, name, Kind(answer[i]), answer[i+1] == "healed")
			}
			return nil
		default:
			return a.s.surprised(answer)
		}
	}
	return nil
}

// foundOf takes note of what is wrong with a session. That the index ends early is one problem, however many sessions
// are in it.
func (a *audit) foundOf(rec *Record, name string, kind Kind, healed bool) {
	f := Finding{Kind: kind, Session: rec.ID.String(), UserID: rec.User.ID, Key: name}
	if kind == KindIndexEarly {
		if _, told := a.early[f.UserID]; told {
			return
		}
		a.early[f.UserID] = struct{}{}
		f.Session, f.Key = "", a.s.keys.index(f.UserID)
	}
	a.found(f, healed)
}
