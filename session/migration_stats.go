package session

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// What is counted while sessions move. The names stand in Redis and in `gatehouse migrate status`.
const (
	statDatabaseHits = "database_hits" // sessions found in the table
	statImports      = "imports"
	statImportErrors = "import_errors" // served from the table instead
	statCopies       = "copies"
	statCopyErrors   = "copy_errors"
	statCompared     = "compared"
	statMismatches   = "mismatches"
	statNoCopy       = "without_copy"
	statErrors       = "errors" // questions to either store that could not be asked
)

const (
	statsEvery  = time.Second
	statsMinute = time.Minute
	// statsKeep is how long the counts of a minute are kept.
	statsKeep = 2 * time.Hour
	// statsWindow is what `migrate status` adds up.
	statsWindow = time.Hour
)

// migrationStats counts for all replicas together: each adds what it has counted to Redis every second,
// under the minute it is. While Redis is away the counts wait.
type migrationStats struct {
	redis *RedisStore
	opts  Options

	mu      sync.Mutex
	waiting map[string]int64
	stop    chan struct{}
	once    sync.Once
	worker  sync.WaitGroup
}

func newMigrationStats(redis *RedisStore, opts Options) *migrationStats {
	s := &migrationStats{redis: redis, opts: opts, waiting: map[string]int64{}, stop: make(chan struct{})}
	s.worker.Go(s.run)
	return s
}

func (s *migrationStats) add(name string) {
	s.opts.Metrics.Migration(name)
	s.mu.Lock()
	s.waiting[name]++
	s.mu.Unlock()
}

func (s *migrationStats) run() {
	tick := time.NewTicker(statsEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
			_ = s.flush() // kept, and tried again in a second
		}
	}
}

func (s *migrationStats) flush() error {
	s.mu.Lock()
	counts := s.waiting
	s.waiting = map[string]int64{}
	s.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	err := s.redis.addCounts(s.redis.keys.migrationCounts(s.opts.Clock()), counts)
	if err != nil {
		s.mu.Lock()
		for name, n := range counts {
			s.waiting[name] += n
		}
		s.mu.Unlock()
	}
	return err
}

func (s *migrationStats) close() error {
	s.once.Do(func() { close(s.stop) })
	s.worker.Wait()
	if err := s.flush(); err != nil {
		return fmt.Errorf("session: figures of the migration are lost: %w", err)
	}
	return nil
}

// migrationCounts are the counts of one minute.
func (k keyspace) migrationCounts(at time.Time) string {
	return k.prefix + "migration_counts:" + strconv.FormatInt(at.Unix()/int64(statsMinute/time.Second), 10)
}

func (s *RedisStore) addCounts(name string, counts map[string]int64) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var cmds rueidis.Commands
	for field, n := range counts {
		cmds = append(cmds, c.B().Hincrby().Key(name).Field(field).Increment(n).Build())
	}
	cmds = append(cmds, c.B().Expire().Key(name).Seconds(int64(statsKeep/time.Second)).Build())
	for _, reply := range c.DoMulti(s.deadlines.context(), cmds...) {
		if err := reply.Error(); err != nil {
			return s.failed(err)
		}
	}
	return nil
}

// MigrationCounts adds up what all replicas have counted in the last hour.
func (s *RedisStore) MigrationCounts(_ context.Context) (map[string]int64, error) {
	c, err := s.client()
	if err != nil {
		return nil, err
	}
	now := s.clock()
	var cmds rueidis.Commands
	for at := now; now.Sub(at) < statsWindow; at = at.Add(-statsMinute) {
		cmds = append(cmds, c.B().Hgetall().Key(s.keys.migrationCounts(at)).Build())
	}
	sum := map[string]int64{}
	for _, reply := range c.DoMulti(s.deadlines.context(), cmds...) {
		minute, err := reply.AsIntMap()
		if err != nil {
			return nil, s.failed(err)
		}
		for name, n := range minute {
			sum[name] += n
		}
	}
	return sum, nil
}
