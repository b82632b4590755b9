package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gatehouse/internal/fault"

	"github.com/redis/rueidis"
)

// suspectsAtOnce bounds the entries one script is asked about.
const suspectsAtOnce = 100

const indexKeyword = "user_sessions:{"

// indexes is the pattern of all indexes.
func (k keyspace) indexes() string { return k.literal() + indexKeyword + "*" }

// parseIndex reads the name of an index: whose it says it is, and whether it stands where that user's is looked for.
func (k keyspace) parseIndex(name string) (userID string, placed, ok bool) {
	rest, ok := strings.CutPrefix(name, k.prefix+indexKeyword)
	if !ok || len(rest) < tagChars+2 || rest[tagChars:tagChars+2] != "}:" {
		return "", false, false
	}
	if n, err := encoding.DecodeString(rest[:tagChars]); err != nil || len(n) != tagBytes {
		return "", false, false
	}
	userID = rest[tagChars+2:]
	return userID, k.index(userID) == name, validUserID(userID)
}

// userIndex is an index as it was read.
type userIndex struct {
	name, userID string
	entries      []string
	// other: it is no sorted set. endless: it has no time to live.
	other, endless bool
	suspects       []string // entries without a record
}

// indexes looks at some of the indexes.
func (a *audit) indexes(ctx context.Context, at place, names []string) error {
	var all []*userIndex
	for _, name := range names {
		userID, placed, ok := a.s.keys.parseIndex(name)
		switch {
		case !ok:
			a.report.Foreign++
		case !placed:
			if err := a.misplacedIndex(ctx, at, name, userID); err != nil {
				return err
			}
		default:
			all = append(all, &userIndex{name: name, userID: userID})
		}
	}
	if len(all) == 0 {
		return nil
	}
	if err := a.readIndexes(ctx, at.c, all); err != nil {
		return err
	}
	if err := a.readEntries(ctx, at.c, all); err != nil {
		return err
	}
	for _, x := range all {
		if err := a.judgeIndex(x); err != nil {
			return err
		}
	}
	return nil
}

func (a *audit) misplacedIndex(ctx context.Context, at place, name, userID string) error {
	kind, err := at.c.Do(ctx, at.c.B().Type().Key(name).Build()).ToString()
	if err != nil {
		return a.s.stepFailed(ctx, err)
	}
	if kind != "zset" {
		if kind != "none" {
			a.report.Foreign++
		}
		return nil
	}
	healed, err := a.drop(name, kind, "")
	if err == nil {
		a.found(Finding{Kind: KindIndexMisplaced, UserID: userID, Key: name}, healed)
	}
	return err
}

func (a *audit) readIndexes(ctx context.Context, c rueidis.Client, all []*userIndex) error {
	var cmds rueidis.Commands
	for _, x := range all {
		cmds = append(cmds, c.B().Zrange().Key(x.name).Min("0").Max("-1").Build(), c.B().Pttl().Key(x.name).Build())
	}
	replies := c.DoMulti(ctx, cmds...)
	for i, x := range all {
		var entryErr error
		x.entries, entryErr = replies[2*i].AsStrSlice()
		if isWrongType(entryErr) {
			x.other, entryErr = true, nil
		}
		left, err := replies[2*i+1].AsInt64()
		if err := errors.Join(entryErr, err); err != nil {
			return a.s.stepFailed(ctx, err)
		}
		x.endless = left == -1
		a.report.Indexes++
		a.report.Entries += int64(len(x.entries))
	}
	return nil
}

// readEntries asks for the records of all entries.
func (a *audit) readEntries(ctx context.Context, c rueidis.Client, all []*userIndex) error {
	var cmds rueidis.Commands
	for _, x := range all {
		for _, id := range x.entries {
			cmds = append(cmds, c.B().Exists().Key(a.s.keys.sessionByID(TagOf(x.userID), id)).Build())
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	replies, i := c.DoMulti(ctx, cmds...), 0
	for _, x := range all {
		for _, id := range x.entries {
			n, err := replies[i].AsInt64()
			if err != nil {
				return a.s.stepFailed(ctx, err)
			}
			if i++; n == 0 {
				x.suspects = append(x.suspects, id)
			}
		}
	}
	return nil
}

// judgeIndex asks the script about what looked wrong: much of it is a session that has ended in between.
func (a *audit) judgeIndex(x *userIndex) error {
	for x.other || x.endless || len(x.suspects) > 0 {
		n := min(len(x.suspects), suspectsAtOnce)
		some := x.suspects[:n]
		x.suspects = x.suspects[n:]
		fault.Point("repair_index.before")
		answer, err := a.s.exec(a.s.scripts.auditIndex, a.s.declare([]string{x.name}, TagOf(x.userID), some),
			join([]string{a.repairs()}, some))
		if err != nil {
			return err
		}
		if answer[0] != "ok" || len(answer)%2 != 1 {
			return a.s.surprised(answer)
		}
		for i := 1; i < len(answer); i += 2 {
			a.foundInIndex(x, Kind(answer[i]), answer[i+1])
		}
		fault.Point("repair_index.done")
		x.other, x.endless = false, false
	}
	return nil
}

func (a *audit) foundInIndex(x *userIndex, kind Kind, entry string) {
	if kind == "expired" {
		a.report.Expired++
		return
	}
	f := Finding{Kind: kind, UserID: x.userID, Key: x.name}
	if id, ok := ParseID(entry); ok { // what is none was not written by a gateway, and may be anything
		f.Session = id.String()
	}
	a.found(f, a.repair)
}

// repairs is the scripts' argument.
func (a *audit) repairs() string {
	if a.repair {
		return "repair"
	}
	return "look"
}

// unfile takes the entries out of the indexes whose records were under a wrong key and are deleted. Whose index an
// entry was in only the indexes' names say: the record told of another user.
func (a *audit) unfile(_ context.Context, _ place, names []string) error {
	for _, name := range names {
		userID, placed, ok := a.s.keys.parseIndex(name)
		if !ok || !placed {
			continue
		}
		tag := TagOf(userID)
		for some := range slices.Chunk(a.dropped[tag], suspectsAtOnce) {
			keys := a.s.declare([]string{name}, tag, some)
			if _, err := a.s.exec(a.s.scripts.auditIndex, keys, join([]string{a.repairs()}, some)); err != nil {
				return err
			}
		}
	}
	return nil
}
