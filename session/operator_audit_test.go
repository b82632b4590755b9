package session_test

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// damage is what is done by hand to the first session of user ada, who has two.
type damage struct {
	name string
	do   func(d *damaged)
	// found by the audit; left: what a repair leaves.
	found, left []session.Kind
	// lives: the session is found by its token after the repair.
	lives bool
}

type damaged struct {
	*testing.T
	server   *testredis.Server
	rec      *session.Record
	key, raw string
	index    string
}

func (d *damaged) redis(args ...string) { d.T.Helper(); d.server.Do(d.T, args...) }

func kinds(of ...session.Kind) []session.Kind { return of }

var damages = []damage{
	{"none", func(*damaged) {}, nil, nil, true},
	{"entry is missing", func(d *damaged) { d.redis("ZREM", d.index, d.rec.ID.String()) }, kinds(session.KindUnindexed), nil, true},
	{"index is missing", func(d *damaged) { d.redis("DEL", d.index) }, kinds(session.KindUnindexed, session.KindUnindexed), nil, true},
	{"entry ends early", func(d *damaged) {
		d.redis("ZADD", d.index, strconv.FormatInt(time.Now().Add(time.Minute).UnixMilli(), 10), d.rec.ID.String())
	}, kinds(session.KindEntryEarly), nil, true},
	{"entry is over", func(d *damaged) { d.redis("ZADD", d.index, "1", d.rec.ID.String()) }, kinds(session.KindEntryEarly), nil, true},
	{"index ends early", func(d *damaged) { d.redis("PEXPIRE", d.index, "60000") }, kinds(session.KindIndexEarly), nil, true},
	{"index never ends", func(d *damaged) { d.redis("PERSIST", d.index) }, kinds(session.KindIndexEndless), nil, true},
	{"index with an endless entry never ends", func(d *damaged) {
		d.redis("ZADD", d.index, "+inf", d.rec.ID.String())
		d.redis("PERSIST", d.index)
	}, kinds(session.KindIndexEndless), nil, true},
	{"record never ends", func(d *damaged) { d.redis("PERSIST", d.key) }, kinds(session.KindEndless), nil, true},
	{"record never ends, in no index", func(d *damaged) { d.redis("PERSIST", d.key); d.redis("DEL", d.index) },
		kinds(session.KindEndless, session.KindUnindexed, session.KindUnindexed), nil, true},
	{"record is gone", func(d *damaged) { d.redis("DEL", d.key) }, kinds(session.KindDead), nil, false},
	{"entry that is no ID", func(d *damaged) { d.redis("ZADD", d.index, "99999999999999", "who knows what") }, kinds(session.KindDead), nil, true},
	{"record has expired", func(d *damaged) { d.redis("DEL", d.key); d.redis("ZADD", d.index, "1", d.rec.ID.String()) }, nil, nil, false},
	{"garbage", func(d *damaged) { d.redis("SET", d.key, "\x00garbage", "KEEPTTL") }, kinds(session.KindCorrupt), kinds(session.KindCorrupt), false},
	{"a newer version's", func(d *damaged) { d.redis("SET", d.key, strings.Replace(d.raw, `"v":1`, `"v":2`, 1), "KEEPTTL") },
		kinds(session.KindCorrupt), kinds(session.KindCorrupt), false},
	{"record is a list", func(d *damaged) { d.redis("DEL", d.key); d.redis("LPUSH", d.key, "x") }, kinds(session.KindCorrupt), kinds(session.KindCorrupt), false},
	{"another ID inside", func(d *damaged) {
		d.redis("SET", d.key, strings.Replace(d.raw, d.rec.ID.String(), session.ID{9}.String(), 1), "KEEPTTL")
	}, kinds(session.KindMisplaced), nil, false},
	{"another user inside", func(d *damaged) { d.redis("SET", d.key, strings.Replace(d.raw, `"ada"`, `"bob"`, 1), "KEEPTTL") },
		kinds(session.KindMisplaced), nil, false},
	{"under another tag", func(d *damaged) {
		d.redis("RENAME", d.key, strings.Replace(d.key, string(session.TagOf("ada")), string(session.TagOf("bob")), 1))
	}, kinds(session.KindDead, session.KindMisplaced), nil, false},
	{"under a tag that is none", func(d *damaged) {
		d.redis("RENAME", d.key, strings.Replace(d.key, string(session.TagOf("ada")), "x", 1))
	},
		kinds(session.KindDead, session.KindMisplaced), nil, false},
	{"index is text", func(d *damaged) { d.redis("SET", d.index, "x") }, kinds(session.KindIndexType, session.KindUnindexed, session.KindUnindexed), nil, true},
	{"index of another tag", func(d *damaged) { d.redis("ZADD", "user_sessions:{"+string(session.TagOf("bob"))+"}:ada", "1", "x") },
		kinds(session.KindIndexMisplaced), nil, true},
	{"an application's own keys", func(d *damaged) {
		d.redis("SET", "session:{secret-of-the-application}", "x")
		d.redis("LPUSH", "session:{secret-of-the-application}:y", "x")
		d.redis("SET", "user_sessions:{secret-of-the-application}:z", "x")
		d.redis("SET", "user_sessions:{"+string(session.TagOf("bob"))+"}:secret-of-the-application", "x")
	}, nil, nil, true},
}

func TestAuditAndRepair(t *testing.T) {
	t.Parallel()
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t)
			o, g := newOperator(t, server)
			token, rec := g.login(t, "ada")
			sibling, _ := g.login(t, "ada")
			other, _ := g.login(t, "bob")
			d := &damaged{T: t, server: server, rec: rec, key: name(rec), raw: raw(t, server, rec), index: session.IndexKey("ada")}
			tt.do(d)
			before := snapshot(t, server)
			looked := audit(t, o, false, tt.found, nil)
			if after := snapshot(t, server); !slices.Equal(before, after) {
				t.Errorf("only looking has changed\n%v\nto\n%v", before, after)
			}
			if looked.Repaired != 0 {
				t.Errorf("%d repaired without being asked to", looked.Repaired)
			}
			audit(t, o, true, tt.found, tt.left)
			audit(t, o, false, tt.left, tt.left)
			fresh := newGateway(t, server.Addr)
			for _, token := range []string{sibling, other} {
				fresh.finds(t, token)
			}
			if _, err := fresh.Find(t.Context(), token); (err == nil) != tt.lives {
				t.Errorf("the session: %v, want it alive: %v", err, tt.lives)
			}
			holds(t, server, tt.lives, rec)
			if n, err := o.RevokeUser(t.Context(), "ada"); err != nil || (n == 2) != tt.lives && len(tt.left) == 0 {
				t.Errorf("%d sessions ended, %v", n, err)
			}
			fresh.login(t, "ada")
		})
	}
}

// audit fails unless the kinds are found, and left by a repair.
func audit(t *testing.T, o *session.Operator, repair bool, found, left []session.Kind) *session.AuditReport {
	t.Helper()
	r, err := o.Audit(t.Context(), repair, nil)
	if err != nil {
		t.Fatal(err)
	}
	var got, stay []session.Kind
	for _, f := range r.Findings {
		got = append(got, f.Kind)
		if !f.Repaired {
			stay = append(stay, f.Kind)
		}
		if f.What == "" || f.Key == "" || f.Repaired != (f.Done != "") || f.Repaired && f.Hint != "" || repair && !f.Repaired && f.Hint == "" {
			t.Errorf("a finding without words: %+v", f)
		}
	}
	slices.Sort(got)
	slices.Sort(found)
	if !slices.Equal(got, found) || r.Problems != int64(len(found)) {
		t.Errorf("repair %v: found %v, want %v: %+v", repair, got, found, r.Findings)
	}
	if repair && (!slices.Equal(stay, left) || r.Repaired != r.Problems-int64(len(left))) {
		t.Errorf("repair leaves %v, want %v", stay, left)
	}
	text, _ := json.Marshal(r)
	for _, secret := range []string{"garbage", "secret-of", "who knows what", "@example.com"} {
		if strings.Contains(string(text), secret) {
			t.Errorf("%q is in the report %s", secret, text)
		}
	}
	return r
}

// snapshot is all that the server holds, but for how long.
func snapshot(t *testing.T, server *testredis.Server) []string {
	t.Helper()
	keys, err := ptr(server.Do(t, "KEYS", "*")).AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(keys)
	var all []string
	for _, key := range keys {
		text, err := ptr(server.Do(t, "DUMP", key)).ToString()
		left, _ := ptr(server.Do(t, "PTTL", key)).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, key, text, strconv.FormatBool(left == -1))
	}
	return all
}

// holds checks by hand what a repair should have brought about for a session.
func holds(t *testing.T, server *testredis.Server, lives bool, rec *session.Record) {
	t.Helper()
	left, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64()
	index, _ := ptr(server.Do(t, "PTTL", session.IndexKey(rec.User.ID))).AsInt64()
	score, err := ptr(server.Do(t, "ZSCORE", session.IndexKey(rec.User.ID), rec.ID.String())).AsFloat64()
	if !lives {
		return
	}
	ends := float64(time.Now().UnixMilli() + left)
	if err != nil || left <= 0 || index < left-1000 || score < ends-2000 {
		t.Errorf("the record ends in %d ms, the index in %d ms, the entry says %.0f, which should be %.0f: %v", left, index, score, ends, err)
	}
}

// How long a record that had lost its time to live has left depends on its last use.
func TestRepairGivesTheTimeThatIsLeft(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	_, rec := g.login(t, "ada")
	used := rec.LastAccessed.Add(-100 * time.Hour)
	stale := strings.Replace(raw(t, server, rec), `"lastAccessed":"`+rec.LastAccessed.UTC().Format("2006-01-02T15:04:05.000Z"), `"lastAccessed":"`+used.UTC().Format("2006-01-02T15:04:05.000Z"), 1)
	server.Do(t, "SET", name(rec), stale)
	audit(t, o, true, kinds(session.KindEndless), nil)
	left, _ := ptr(server.Do(t, "PTTL", name(rec))).AsInt64()
	if got := time.Duration(left) * time.Millisecond; got > 68*time.Hour || got < 67*time.Hour {
		t.Errorf("%v left of 168 h without use, 100 h ago used", got)
	}
}

// In a Cluster, and under ACLs, a script may only touch keys it declares.
func TestAuditScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	for _, tt := range damages {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := testredis.Start(t)
			o, g := newOperator(t, server)
			g.store.UseAuditScripts(func(source string) string { return "#!lua\n" + source })
			_, rec := g.login(t, "ada")
			g.login(t, "ada")
			d := &damaged{T: t, server: server, rec: rec, key: name(rec), raw: raw(t, server, rec), index: session.IndexKey("ada")}
			tt.do(d)
			var declared []string
			for _, line := range monitor(t, server, func() { audit(t, o, true, tt.found, tt.left) }) {
				args, lua := parseMonitor(t, line)
				switch {
				case len(args) < 2:
				case !lua && strings.HasPrefix(strings.ToUpper(args[0]), "EVAL"):
					n, _ := strconv.Atoi(args[2])
					if declared = args[3 : 3+n]; len(tagsOf(declared)) > 1 && !strings.Contains(tt.name, "tag") {
						t.Errorf("keys of several slots in one call: %v", declared)
					}
				case lua && !slices.Contains(declared, args[1]):
					t.Errorf("%s touches %q, declared are %q", args[0], args[1], declared)
				}
			}
		})
	}
}

// The embedded Redis is looked through in the same way.
func TestAuditOfTheEmbeddedStore(t *testing.T) {
	t.Parallel()
	g := newGateway(t, "embedded")
	_, rec := g.login(t, "ada")
	g.login(t, "ada")
	o := session.NewOperator(g.Manager)
	g.store.EmbeddedServer().Del(session.IndexKey("ada"))
	for _, want := range []int64{2, 0} {
		if r, err := o.Audit(t.Context(), true, nil); err != nil || r.Problems != want || r.Repaired != want || r.Sessions != 2 {
			t.Errorf("%+v, %v", r, err)
		}
	}
	if s, err := o.Stats(t.Context(), nil); err != nil || s.Sessions != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if got, err := o.Show(t.Context(), rec.ID.Short(), ""); err != nil || got.ID != rec.ID {
		t.Errorf("%v, %v", got, err)
	}
}
