package session

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// eachBatch is how many keys a step of a walk asks for.
const eachBatch = 500

// eachTimeout bounds a step of a walk: a scan is no request, and on a full server a step takes its time.
const eachTimeout = 10 * time.Second

// Each calls f for every session's record in Redis, in no order; those that come or go meanwhile may be
// among them or not. Records that cannot be read are given as their error. It ends with f's error.
func (s *RedisStore) Each(ctx context.Context, f func(*Record, error) error) error {
	return s.each(ctx, nil, f)
}

func (s *RedisStore) each(ctx context.Context, progress func(done, total int64), f func(*Record, error) error) error {
	return s.walk(ctx, s.keys.sessions(), progress, func(step context.Context, at place, names []string) error {
		return s.readEach(step, at.c, names, f)
	})
}

// place is where a walk is: the node that has just been asked, and the client that finds any key's node.
type place struct{ c, node rueidis.Client }

// walk calls f with the names of all keys that match a pattern, some at a time and each once. progress may be
// nil; it is told how many of all keys, whatever their names, have been looked at, as near as can be known,
// and how many there are, 0 when Redis does not say.
func (s *RedisStore) walk(ctx context.Context, pattern string, progress func(done, total int64), f func(context.Context, place, []string) error) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	nodes, err := s.masters(ctx, c)
	if err != nil {
		return err
	}
	sizes, total := make([]int64, len(nodes)), int64(0)
	for i, node := range nodes {
		sizes[i] = s.size(ctx, node)
		total += sizes[i]
	}
	// SCAN may give a key twice, and one that moves between the nodes of a Cluster is met on both.
	seen := make(map[[16]byte]struct{})
	done := int64(0)
	for i, node := range nodes {
		steps := int64(0)
		told := func() {
			if steps++; progress != nil {
				progress(done+min(steps*eachBatch, sizes[i]), total)
			}
		}
		err := s.walkNode(ctx, node, pattern, told, func(step context.Context, names []string) error {
			if names = unseen(seen, names); len(names) == 0 {
				return nil
			}
			return f(step, place{c: c, node: node}, names)
		})
		if err != nil {
			return err
		}
		done += sizes[i]
	}
	if progress != nil {
		progress(total, total)
	}
	return nil
}

func (s *RedisStore) walkNode(ctx context.Context, node rueidis.Client, pattern string, told func(), f func(context.Context, []string) error) error {
	for cursor := uint64(0); ; {
		step, cancel := context.WithTimeout(ctx, s.stepTime)
		entry, err := node.Do(step, node.B().Scan().Cursor(cursor).Match(pattern).Count(eachBatch).Build()).AsScanEntry()
		if err == nil {
			err = s.stepOver(ctx, step, f(step, entry.Elements))
		} else {
			err = s.stepFailed(ctx, err)
		}
		cancel()
		if err != nil {
			return err
		}
		told()
		if cursor = entry.Cursor; cursor == 0 {
			return nil
		}
	}
}

// unseen picks the names that come up for the first time.
func unseen(seen map[[16]byte]struct{}, names []string) []string {
	var fresh []string
	for _, name := range names {
		sum := sha256.Sum256([]byte(name))
		short := [16]byte(sum[:16])
		if _, twice := seen[short]; twice {
			continue
		}
		seen[short] = struct{}{}
		fresh = append(fresh, name)
	}
	return fresh
}

// masters gives the nodes that hold what counts. A Cluster's replicas have the keys of their masters,
// a moment late. Who may not ask a node for its role walks all of them: unseen picks each key once.
func (s *RedisStore) masters(ctx context.Context, c rueidis.Client) ([]rueidis.Client, error) {
	nodes := c.Nodes()
	var masters []rueidis.Client
	for address, node := range nodes {
		if len(nodes) == 1 {
			return []rueidis.Client{node}, nil
		}
		step, cancel := context.WithTimeout(ctx, eachTimeout)
		role, err := node.Do(step, node.B().Role().Build()).ToArray()
		cancel()
		if _, refused := reply(err); err != nil && !refused {
			// A part of the sessions that cannot be looked at must not look like there being none.
			return nil, s.stepFailed(ctx, fmt.Errorf("node %s of the Cluster: %w", address, err))
		}
		if len(role) > 0 {
			if is, _ := role[0].ToString(); is == "slave" {
				continue
			}
		}
		masters = append(masters, node)
	}
	return masters, nil
}

// size is how many keys a node holds, 0 when it does not say.
func (s *RedisStore) size(ctx context.Context, node rueidis.Client) int64 {
	step, cancel := context.WithTimeout(ctx, eachTimeout)
	defer cancel()
	n, err := node.Do(step, node.B().Dbsize().Build()).AsInt64()
	if err != nil {
		return 0
	}
	return n
}

// stepFailed takes the error of a step. That the one who asked has gone away says nothing about Redis, and
// must not make it count as away for everybody's requests.
func (s *RedisStore) stepFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.failed(err)
}

// stepOver takes what came of a step, which knows its own time only: when that is over, and who asked goes on, it was
// Redis that took too long.
func (s *RedisStore) stepOver(ctx, step context.Context, err error) error {
	if over := step.Err(); over == nil || !errors.Is(err, over) || errors.Is(err, ErrUnavailable) {
		return err
	}
	return s.stepFailed(ctx, err)
}

func (s *RedisStore) readEach(ctx context.Context, c rueidis.Client, names []string, f func(*Record, error) error) error {
	var cmds rueidis.Commands
	var keys []Key
	for _, name := range names {
		if key, ok := s.keys.parseSession(name); ok {
			keys = append(keys, key)
			cmds = append(cmds, c.B().Get().Key(name).Build())
		}
	}
	if len(cmds) == 0 {
		return nil
	}
	for i, reply := range c.DoMulti(ctx, cmds...) {
		raw, err := reply.ToString()
		switch {
		case rueidis.IsRedisNil(err):
			continue
		case isWrongType(err):
			if err := f(nil, errNoText); err != nil {
				return err
			}
			continue
		case err != nil:
			return s.stepFailed(ctx, err)
		}
		if err := f(decodeRecord(raw, keys[i])); err != nil {
			return err
		}
	}
	return nil
}

// errNoText is what stands in a session's place without being a text at all.
var errNoText = fmt.Errorf("%w: the key is of another type than a record's", ErrCorrupt)

// isWrongType reports whether Redis says that a key is of another type than the command is for.
func isWrongType(err error) bool {
	text, ok := reply(err)
	return ok && strings.HasPrefix(text, "WRONGTYPE")
}

// sessions is the pattern of all session keys.
func (k keyspace) sessions() string { return k.literal() + sessionKeyword + "*" }

// beginning is the pattern of the keys of sessions whose IDs begin so; of every user's when tag is "".
func (k keyspace) beginning(tag Tag, id string) string {
	if tag == "" {
		tag = "*"
	}
	return k.literal() + sessionKeyword + string(tag) + "}:" + id + "*"
}

// literal is the prefix as a pattern: what stands in it is meant as it is written.
func (k keyspace) literal() string {
	escaped := make([]byte, 0, len(k.prefix))
	for _, b := range []byte(k.prefix) {
		switch b {
		case '*', '?', '[', ']', '\\':
			escaped = append(escaped, '\\')
		}
		escaped = append(escaped, b)
	}
	return string(escaped)
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
