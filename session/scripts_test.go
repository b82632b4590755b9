package session_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// In a Cluster, and under ACLs, a script may only touch keys it declares. A single server lets it
// pass, so what it does is watched: MONITOR shows the call with its keys, then every command inside.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	lines := monitor(t, server, func() { everyScript(t, store, func(string) *testredis.Server { return server }) })
	var declared []string
	scripts, inside := map[string]bool{}, 0
	for _, line := range lines {
		args, lua := parseMonitor(t, line)
		if len(args) == 0 {
			continue
		}
		switch command := strings.ToUpper(args[0]); {
		case command == "EVAL" || command == "EVALSHA":
			n, err := strconv.Atoi(args[2])
			if err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			declared = args[3 : 3+n]
			scripts[args[1]] = true
			if tags := tagsOf(declared); len(tags) > 1 {
				t.Errorf("keys of several slots in one call: %v", declared)
			}
		case lua && command != "TIME":
			inside++
			if key := args[1]; !slices.Contains(declared, key) {
				t.Errorf("%s touches %q, declared are %q", command, key, declared)
			}
		}
	}
	// Each is tried by its hash first, and sent in full if the server does not know it.
	for name, source := range session.Sources() {
		if !scripts[source] {
			t.Errorf("the script %s was not watched: add it to everyScript", name)
		}
	}
	if inside < 50 {
		t.Errorf("%d commands inside: not everything was watched", inside)
	}
}

// everything runs every script, through each of its ways.
func everything(t *testing.T, store *session.RedisStore) {
	ctx := context.Background()
	create := func(change ...func(*session.CreateOptions)) (*session.Record, error) {
		rec, _ := sessiontest.Record("42")
		opts := session.CreateOptions{TTL: hour, MaxPerUser: 3}
		opts.Began, _ = store.Epoch(ctx)
		for _, c := range change {
			c(&opts)
		}
		_, err := store.Create(ctx, rec, opts)
		return rec, err
	}
	var last *session.Record
	for range 5 { // some evict
		rec, err := create()
		if err != nil {
			t.Fatal(err)
		}
		last = rec
	}
	create(func(o *session.CreateOptions) { o.RejectAtLimit = true })
	create(func(o *session.CreateOptions) { o.Replaces = last.ID })
	rec, _ := create()
	found, err := store.Find(ctx, rec.Key())
	if err != nil {
		t.Fatal(err)
	}
	changed := found.Record.Clone()
	changed.User.Role = "other"
	for range 2 { // done, conflict
		store.Replace(ctx, found.Record, changed, hour)
	}
	store.List(ctx, "42")
	store.Revoke(ctx, rec.Key(), "42")
	store.Revoke(ctx, rec.Key(), "")
	store.Replace(ctx, found.Record, changed, hour) // gone
	kept, _ := create()
	if ids, err := store.RevokeUser(ctx, "42", kept.ID); err != nil || len(ids) == 0 {
		t.Fatalf("revoked %v, %v", ids, err)
	}
	store.RevokeUser(ctx, "42")
	create(func(o *session.CreateOptions) { o.Began = session.Epoch{} }) // superseded: heals the sequence
	for range 2 {                                                        // taken, refused
		if _, _, err := store.Take(ctx, "account:bob", 0.001, 1); err != nil {
			t.Fatal(err)
		}
	}
}

// What the operations of design.md cost: the round trips of their ordinary ways.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	store := open(t, server)
	everything(t, store) // scripts are loaded, connections made
	ctx := t.Context()
	rec, _ := sessiontest.Record("u")
	opts := session.CreateOptions{TTL: hour, MaxPerUser: 3, Began: session.EpochAt(1 << 40)}
	var found session.Found
	for _, step := range []struct {
		name string
		want int
		do   func()
	}{
		{"create", 1, func() { store.Create(ctx, rec, opts) }},
		{"find, miss", 1, func() { found, _ = store.Find(ctx, rec.Key()) }},
		{"find, hit", 0, func() { store.Find(ctx, rec.Key()) }},
		{"touch", 1, func() { store.Replace(ctx, found.Record, found.Record.Clone(), hour) }},
		{"list", 2, func() { store.List(ctx, "u") }},
		{"revoke one", 1, func() { store.Revoke(ctx, rec.Key(), "u") }},
		{"revoke all, of none", 2, func() { store.RevokeUser(ctx, "u") }},
	} {
		questions := 0
		for _, line := range monitor(t, server, step.do) {
			args, lua := parseMonitor(t, line)
			if lua || len(args) == 0 {
				continue
			}
			// The cache's transaction is one round trip of five commands. After a touch the session is
			// read again in the background, which nobody waits for.
			c := strings.ToUpper(args[0])
			if c == "EVALSHA" || c == "EVAL" || c == "GET" && step.name != "touch" {
				questions++
			}
		}
		if questions != step.want {
			t.Errorf("%s: %d, want %d", step.name, questions, step.want)
		}
	}
}

func tagsOf(keys []string) map[string]bool {
	tags := map[string]bool{}
	for _, key := range keys {
		_, rest, ok := strings.Cut(key, "{")
		tag, _, closed := strings.Cut(rest, "}")
		if !ok || !closed {
			tag = key // without a tag the whole key decides the slot
		}
		tags[tag] = true
	}
	return tags
}

// monitor gives the lines MONITOR shows while do runs.
func monitor(t *testing.T, server *testredis.Server, do func()) []string {
	t.Helper()
	conn, err := net.Dial("tcp", server.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	fmt.Fprint(conn, "MONITOR\r\n")
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, 1<<20)
	if !lines.Scan() || lines.Text() != "+OK" {
		t.Fatalf("MONITOR: %q", lines.Text())
	}
	do()
	// Answers after this mark are of no interest; a re-read after a write settles before it or not at all.
	server.Do(t, "ECHO", "the-end")
	var seen []string
	for lines.Scan() && !strings.Contains(lines.Text(), "the-end") {
		seen = append(seen, lines.Text())
	}
	if lines.Err() != nil {
		t.Fatal(lines.Err())
	}
	return seen
}

// parseMonitor reads `+time [db source] "arg" "arg"`.
func parseMonitor(t *testing.T, line string) (args []string, lua bool) {
	t.Helper()
	source, rest, ok := strings.Cut(line, "] ")
	if !ok {
		return nil, false
	}
	for rest = strings.TrimSpace(rest); rest != ""; rest = strings.TrimSpace(rest) {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		arg, err := strconv.Unquote(quoted)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		args = append(args, arg)
		rest = rest[len(quoted):]
	}
	return args, strings.HasSuffix(source, " lua")
}
