package session

import (
	"math"
	"sync"

	"gatehouse/config"
	"gatehouse/telemetry"
)

// The two halves of what this process keeps of sessions, as label values of the cache's metrics: the answers
// of Redis as they came, which its invalidations keep honest, and the records decoded from them.
const (
	partReplies = "replies"
	partRecords = "records"
)

// repliesPercent of the cache's bytes are for answers, the rest for records: as a session of ordinary size
// needs them (make bench-sessions measures it), so that both halves hold the same number of sessions.
const repliesPercent = 36

// wholeCache is what a store without replies has for records. Nothing set is the default, for callers without a config.
func wholeCache(size config.Size) int {
	if size <= 0 {
		size = config.DefaultCacheSize
	}
	return int(min(size, math.MaxInt/100))
}

// splitCache divides session.cache_size.
func splitCache(size config.Size) (replies, records int) {
	whole := wholeCache(size)
	replies = whole * repliesPercent / 100
	return replies, whole - replies
}

// Shared gives the options of each of two stores that share CacheSize: each has half of it, and whichever is full first
// tells so, with the whole.
func (o Options) Shared() Options {
	o.cacheFull = o.tellFull()
	o.CacheSize = config.Size(wholeCache(o.CacheSize) / 2)
	return o
}

// usage tells operators what one half of the cache holds.
type usage struct {
	part    string
	metrics *telemetry.Metrics
	full    func()
}

// changed tells how many bytes and entries came, or went when below zero.
func (u usage) changed(bytes, entries int) { u.metrics.CacheChanged(u.part, bytes, entries) }

// evicted tells of entries that had to go for others. Not while a lock is held: it may write a log line.
func (u usage) evicted(n int) {
	if n == 0 {
		return
	}
	u.metrics.CacheEvicted(u.part, n)
	if u.full != nil {
		u.full()
	}
}

// tellFull gives a function that logs once that the cache is full: after that the metrics tell.
func (o Options) tellFull() func() {
	if o.cacheFull != nil {
		return o.cacheFull
	}
	log, size := o.Log, config.Size(wholeCache(o.CacheSize))
	var once sync.Once
	return func() {
		once.Do(func() {
			log.Warn().Stringer("cache_size", size).
				Msg("the sessions in use do not fit into session.cache_size any more: some are asked for again each time; see gatehouse_session_cache_evictions_total")
		})
	}
}
