package session

import (
	"context"
	"time"

	"github.com/redis/rueidis"
)

// eachBatch is how many keys a step of Each asks for.
const eachBatch = 500

// eachTimeout bounds a step of Each: a scan is no request, and on a full server a step takes its time.
const eachTimeout = 10 * time.Second

// Each calls f for every session's record in Redis, in no order; those that come or go meanwhile may be
// among them or not. Records that cannot be read are given as their error. It ends with f's error.
func (s *RedisStore) Each(ctx context.Context, f func(*Record, error) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	nodes := c.Nodes()
	// SCAN may give a key twice, and a Cluster's replicas have those of their masters.
	seen := make(map[ID]struct{})
	for _, node := range nodes {
		if err := s.eachOf(ctx, c, node, seen, f); err != nil {
			return err
		}
	}
	return nil
}

func (s *RedisStore) eachOf(ctx context.Context, c, node rueidis.Client, seen map[ID]struct{}, f func(*Record, error) error) error {
	for cursor := uint64(0); ; {
		step, cancel := context.WithTimeout(ctx, eachTimeout)
		entry, err := node.Do(step, node.B().Scan().Cursor(cursor).Match(s.keys.sessions()).Count(eachBatch).Build()).AsScanEntry()
		if err == nil {
			err = s.readEach(step, c, entry.Elements, seen, f)
		} else {
			err = s.failed(err)
		}
		cancel()
		if err != nil {
			return err
		}
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (s *RedisStore) readEach(ctx context.Context, c rueidis.Client, names []string, seen map[ID]struct{}, f func(*Record, error) error) error {
	var cmds rueidis.Commands
	var keys []Key
	for _, name := range names {
		key, ok := s.keys.parseSession(name)
		if _, twice := seen[key.ID]; !ok || twice {
			continue
		}
		seen[key.ID] = struct{}{}
		keys = append(keys, key)
		cmds = append(cmds, c.B().Get().Key(name).Build())
	}
	if len(cmds) == 0 {
		return nil
	}
	for i, reply := range c.DoMulti(ctx, cmds...) {
		raw, err := reply.ToString()
		if rueidis.IsRedisNil(err) {
			continue
		}
		if err != nil {
			return s.failed(err)
		}
		if err := f(decodeRecord(raw, keys[i])); err != nil {
			return err
		}
	}
	return nil
}

// sessions is the pattern of all session keys. What stands in the prefix is meant as it is written.
func (k keyspace) sessions() string {
	escaped := make([]byte, 0, len(k.prefix))
	for _, b := range []byte(k.prefix) {
		switch b {
		case '*', '?', '[', ']', '\\':
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, b)
	}
	return string(escaped) + sessionKeyword + "*"
}

// parseSession reads the name of a session's key.
func (k keyspace) parseSession(name string) (Key, bool) {
	id, ok := k.sessionID(name)
	if !ok {
		return Key{}, false
	}
	at := len(k.prefix) + len(sessionKeyword)
	return Key{Tag: Tag(name[at : at+tagChars]), ID: id}, true
}
