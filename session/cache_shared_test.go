package session

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/database"

	"github.com/rs/zerolog"
)

// While sessions move, two stores share session.cache_size: the log names the setting, not a part of it, and does so
// once; the table's store, which has no replies, uses all of its half.
func TestTwoStoresShareTheCache(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	opts := Options{Log: zerolog.New(&log), CacheSize: 4 * config.MiB}.Shared()
	redis, err := Open(t.Context(), config.Redis{Addresses: []string{"embedded"}}, opts)
	if err != nil {
		t.Fatal(err)
	}
	defer redis.Close()
	db, err := database.Open(t.Context(), config.Database{URL: "postgres://nobody@127.0.0.1:1/none", MaxConnections: 1, Timeout: time.Second}, database.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	table, err := OpenDatabase(db, config.Default().Session.Database, config.Default().Session, opts)
	if err != nil {
		t.Fatal(err)
	}
	const half = 2 << 20
	for name, c := range map[string]struct {
		known *knownSessions
		most  int
	}{
		"redis":    {redis.known, half * (100 - repliesPercent) / 100},
		"database": {table.known, half},
	} {
		for i := range 10_000 {
			c.known.put(ID{byte(i), byte(i >> 8)}, &entry{})
		}
		if got := c.known.bytes; got > c.most+1 || got < c.most*99/100 {
			t.Errorf("%s: %d bytes of records, want %d", name, got, c.most)
		}
	}
	if said := log.String(); strings.Count(said, "session.cache_size") != 1 || !strings.Contains(said, `"cache_size":"4MiB"`) {
		t.Errorf("the log says %s", said)
	}
}

func TestSharedCacheOfADefault(t *testing.T) {
	t.Parallel()
	if got := (Options{}).Shared().CacheSize; got != config.DefaultCacheSize/2 {
		t.Errorf("%v", got)
	}
}
