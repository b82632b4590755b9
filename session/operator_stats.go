package session

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// memorySamples is how many sessions Redis is asked for the size of.
const memorySamples = 200

// Stats are figures of the live sessions in Redis.
type Stats struct {
	Sessions int64 `json:"sessions"`
	Users    int64 `json:"users"`
	// PerUser says how many users have how many sessions; ranges nobody is in are there as well.
	PerUser []Range `json:"perUser"`
	// Oldest is the session that has existed for longest, nil when there is none.
	Oldest *View `json:"oldest"`
	// Copies are those of the sessions that count only together with their rows in the application's table.
	Copies int64 `json:"copies"`
	// Corrupt records cannot be read; they are no sessions, and not among Sessions.
	Corrupt int64  `json:"corrupt"`
	Memory  Memory `json:"memory"`
}

// Range is a range of sessions per user.
type Range struct {
	From int64 `json:"from"`
	To   int64 `json:"to,omitempty"` // the last one in it; 0 for no end
	// Users who have so many.
	Users int64 `json:"users"`
}

// Memory is what Redis says of its memory, in bytes, over all masters. nil: it does not say, or we may not ask.
type Memory struct {
	Used *int64 `json:"used"`
	Max  *int64 `json:"max"` // redis's maxmemory, 0 for no limit
	// PerSession is the mean of what a record and its part of the index take, over Sampled sessions.
	PerSession *float64 `json:"perSession"`
	Sampled    int64    `json:"sampled"`
}

// ranges of sessions per user, by their first number; the last has no end.
var ranges = []int64{1, 2, 3, 6, 11, 21, 51, 101}

// Stats goes through all sessions in Redis. progress is as in Each. ErrUnavailable; ctx's error.
func (o *Operator) Stats(ctx context.Context, progress func(done, total int64)) (*Stats, error) {
	stats := &Stats{}
	perUser := make(map[string]int64)
	var oldest *Record
	var sample []*Record
	err := o.Each(ctx, progress, func(rec *Record, err error) error {
		if err != nil {
			stats.Corrupt++
			return nil
		}
		stats.Sessions++
		perUser[rec.User.ID]++
		if rec.Database == DatabaseCopy {
			stats.Copies++
		}
		if oldest == nil || rec.CreatedAt.Before(oldest.CreatedAt) {
			oldest = rec
		}
		if len(sample) < memorySamples { // keys come in the order of their hashes, which is none
			sample = append(sample, rec)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	stats.Users = int64(len(perUser))
	stats.PerUser = histogram(perUser)
	if oldest != nil {
		v := oldest.View()
		stats.Oldest = &v
	}
	stats.Memory, err = o.redis.memory(ctx, sample)
	return stats, err
}

func histogram(perUser map[string]int64) []Range {
	all := make([]Range, len(ranges))
	for i, from := range ranges {
		all[i].From = from
		if i+1 < len(ranges) {
			all[i].To = ranges[i+1] - 1
		}
	}
	for _, n := range perUser {
		i, exact := slices.BinarySearch(ranges, n)
		if !exact {
			i--
		}
		all[i].Users++
	}
	return all
}

// memory asks for what a Redis may refuse: some services, and narrow rights, do not answer it.
func (s *RedisStore) memory(ctx context.Context, sample []*Record) (Memory, error) {
	var m Memory
	c, err := s.client()
	if err != nil {
		return m, err
	}
	nodes, err := s.masters(ctx, c)
	if err != nil {
		return m, err
	}
	for _, node := range nodes {
		step, cancel := context.WithTimeout(ctx, eachTimeout)
		text, err := node.Do(step, node.B().Info().Section("memory").Build()).ToString()
		cancel()
		if _, refused := reply(err); err != nil && !refused {
			return m, s.stepFailed(ctx, err)
		}
		used, ok := infoNumber(text, "used_memory")
		limit, known := infoNumber(text, "maxmemory")
		if !ok || !known {
			m.Used, m.Max = nil, nil
			break // a part of it would be taken for all
		}
		m.Used, m.Max = plus(m.Used, used), limitOf(m.Max, limit)
	}
	return m, s.sampleMemory(ctx, c, sample, &m)
}

func plus(sum *int64, n int64) *int64 {
	if sum != nil {
		n += *sum
	}
	return &n
}

// limitOf adds limits, of which one that is missing makes the whole unlimited.
func limitOf(sum *int64, n int64) *int64 {
	if n == 0 || sum != nil && *sum == 0 {
		n = 0
		return &n
	}
	return plus(sum, n)
}

// infoNumber reads a line of INFO.
func infoNumber(text, name string) (int64, bool) {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseInt(value, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// sampleMemory asks for the size of sessions: the record's, and its share of the index.
func (s *RedisStore) sampleMemory(ctx context.Context, c rueidis.Client, sample []*Record, m *Memory) error {
	if len(sample) == 0 {
		return nil
	}
	var cmds rueidis.Commands
	for _, rec := range sample {
		index := s.keys.index(rec.User.ID)
		cmds = append(cmds, c.B().MemoryUsage().Key(s.keys.session(rec.Key())).Build(),
			c.B().MemoryUsage().Key(index).Build(), c.B().Zcard().Key(index).Build())
	}
	step, cancel := context.WithTimeout(ctx, eachTimeout)
	defer cancel()
	total := 0.0
	replies := c.DoMulti(step, cmds...)
	for i := 0; i < len(replies); i += 3 {
		var n [3]int64
		missing := false
		for j, r := range replies[i : i+3] {
			var err error
			n[j], err = r.AsInt64()
			_, refused := reply(err)
			switch {
			case err == nil:
			case rueidis.IsRedisNil(err) || refused:
				missing = true // it has ended meanwhile, or we may not ask
			default:
				return s.stepFailed(ctx, err)
			}
		}
		if missing || n[2] == 0 {
			continue
		}
		total += float64(n[0]) + float64(n[1])/float64(n[2])
		m.Sampled++
	}
	if m.Sampled > 0 {
		mean := total / float64(m.Sampled)
		m.PerSession = &mean
	}
	return nil
}
