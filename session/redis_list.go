package session

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"gatehouse/internal/fault"

	"github.com/redis/rueidis"
)

// List reads the index page by page, and the records of each page in one pipeline, and takes entries without a record out
// of the index. Each of these is a question with a deadline of its own: an index of 100,000 entries, made by a client that logs
// in for each request, could not be read within one, and three such lists would count as an outage for everybody.
// Records that cannot be read are left out: they are no sessions.
func (s *RedisStore) List(_ context.Context, userID string) ([]*Record, error) {
	l := s.listing(userID)
	for more := true; more; {
		var err error
		if more, err = l.next(); err != nil {
			return nil, err
		}
	}
	return l.sorted(), nil
}

// listing goes through an index in its order, which is that of expiry. Sessions end, are used (which moves them to a later
// place) and are made between two pages, so it does not go on at a rank, to which other entries may have moved: it goes on at
// the score of the last entry it met, and behind as many as it left there, if the last of these still stands where it did.
// Otherwise it reads those of that score again.
type listing struct {
	s     *RedisStore
	tag   Tag
	index string

	from string // the score to go on at
	skip int    // how many entries from there on are known
	last string // the last of them

	seen        map[string]bool // by ID: those that stay in the index
	records     []*Record
	fresh, vain int // pages that brought mostly new ones, and those that did not
}

func (s *RedisStore) listing(userID string) *listing {
	fault.Point("list.before")
	return &listing{s: s, tag: TagOf(userID), index: s.keys.index(userID), from: "-inf", seen: map[string]bool{}}
}

// next reads a page and heals it. It reports whether there may be another one.
func (l *listing) next() (more bool, err error) {
	answer, err := l.s.exec(l.s.scripts.list, []string{l.index}, []string{l.from, strconv.Itoa(l.skip), l.last})
	if err != nil {
		return false, err
	}
	if len(answer) < 2 || len(answer)%2 != 0 {
		return false, l.s.surprised(answer)
	}
	skip, err := strconv.Atoi(answer[1])
	if err != nil {
		return false, l.s.surprised(answer)
	}
	l.skip = skip
	entries, unread := answer[2:], []string(nil)
	for i := 0; i < len(entries); i += 2 {
		if !l.seen[entries[i]] {
			unread = append(unread, entries[i])
		}
	}
	if err := l.read(unread); err != nil {
		return false, err
	}
	l.advance(entries)
	if answer[0] != "more" {
		return false, nil
	}
	if len(unread) < len(entries)/4 { // half of the page's sessions
		l.vain++
	} else {
		l.fresh++
	}
	if l.vain > l.fresh+needRounds { // all of them once more is allowed
		return false, unavailable(fmt.Errorf("the user's sessions keep changing"))
	}
	return true, nil
}

// advance notes where the next page begins. Entries that have been taken out are not counted.
func (l *listing) advance(entries []string) {
	if len(entries) == 0 {
		return
	}
	score := entries[len(entries)-1]
	if score != l.from {
		l.from, l.skip, l.last = score, 0, ""
	}
	for i := 0; i < len(entries); i += 2 {
		if id := entries[i]; entries[i+1] == score && l.seen[id] {
			l.skip, l.last = l.skip+1, id
		}
	}
}

// read reads the records of a page, and takes those out of the index that are not there.
func (l *listing) read(ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	c, err := l.s.client()
	if err != nil {
		return err
	}
	fault.Point("list.read")
	cmds := make(rueidis.Commands, 0, len(ids))
	for _, id := range ids {
		cmds = append(cmds, c.B().Get().Key(l.s.keys.sessionByID(l.tag, id)).Build())
	}
	var dead []string
	for i, reply := range c.DoMulti(l.s.deadlines.context(), cmds...) {
		raw, err := reply.ToString()
		if rueidis.IsRedisNil(err) {
			dead = append(dead, ids[i])
			continue
		}
		if err != nil {
			return l.s.failed(err)
		}
		l.seen[ids[i]] = true
		id, ok := ParseID(ids[i])
		if !ok {
			continue
		}
		if record, err := decodeRecord(raw, Key{Tag: l.tag, ID: id}); err == nil {
			l.records = append(l.records, record)
		}
	}
	l.s.breaker.report(nil)
	return l.heal(c, dead)
}

// heal takes entries without a record out of the index. An ID never comes back, so nothing can have been made meanwhile
// that this takes out.
func (l *listing) heal(c rueidis.Client, dead []string) error {
	if len(dead) == 0 {
		return nil
	}
	fault.Point("list.heal")
	if err := c.Do(l.s.deadlines.context(), c.B().Zrem().Key(l.index).Member(dead...).Build()).Error(); err != nil {
		return l.s.failed(err)
	}
	fault.Point("list.done")
	return nil
}

// sorted gives the sessions that were found, the oldest first.
func (l *listing) sorted() []*Record {
	slices.SortStableFunc(l.records, func(a, b *Record) int { return a.CreatedAt.Compare(b.CreatedAt) })
	return l.records
}
