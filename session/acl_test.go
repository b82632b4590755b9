package session_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
	"gatehouse/session/sessiontest"
)

// rights are lists of the README's.
type rights struct{ gateway, migration, operator, cluster, sentinel, ofSentinels []string }

// readme takes the lists of rights out of the README: whoever copies them gets what is tested here.
func readme(t *testing.T) rights {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(text), "\n### Rights in Redis\n")
	chapter, _, _ = strings.Cut(chapter, "\n#")
	var blocks [][]string
	for _, block := range regexp.MustCompile("(?s)```text\n(.*?)```").FindAllStringSubmatch(chapter, -1) {
		blocks = append(blocks, strings.Split(block[1], "ACL SETUSER gatehouse on >PASSWORD "))
	}
	if len(blocks) != 5 || len(blocks[0]) != 2 || len(blocks[4]) != 2 {
		t.Fatalf("the README's lists of rights are not where they were: %q", blocks)
	}
	list := func(block, part int) []string { return strings.Fields(blocks[block][part]) }
	return rights{gateway: list(0, 1), migration: list(1, 0), operator: list(2, 0), cluster: list(3, 0), sentinel: list(4, 0), ofSentinels: list(4, 1)}
}

// allow makes a user with exactly these rights.
func allow(t *testing.T, server *testredis.Server, user string, rights []string) {
	t.Helper()
	server.Do(t, append([]string{"ACL", "SETUSER", user, "reset", "on", ">secret"}, rights...)...)
}

func as(user string) func(*config.Redis) {
	return func(r *config.Redis) { r.KeyPrefix, r.Username, r.Password = "p:", user, "secret" }
}

// denied gives what a server has refused the user.
func denied(t *testing.T, server *testredis.Server, user string) []string {
	t.Helper()
	entries, err := ptr(server.Do(t, "ACL", "LOG", "1000")).ToArray()
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		if text, _ := e.AsStrMap(); text["username"] == user {
			all = append(all, text["reason"]+" "+text["object"])
		}
	}
	return all
}

// harmful leaves out the questions to which a no is as good an answer: the library tells its name for CLIENT LIST and
// asks whether this is a Cluster, and whoever scans asks how far there is to go.
func harmful(denials []string) []string {
	return slices.DeleteFunc(denials, func(denial string) bool {
		return slices.Contains([]string{"command cluster|slots", "command client|setinfo", "command client", "command dbsize"}, denial)
	})
}

// misses reports whether what was denied is the right that was taken away.
func misses(denials []string, right string) bool {
	return slices.ContainsFunc(denials, func(denial string) bool {
		reason, object, _ := strings.Cut(denial, " ")
		if reason == "command" {
			return right == "+"+object
		}
		return right[0] != '+' && strings.HasPrefix(object, strings.TrimRight(right[1:], "*"))
	})
}

// The contract holds for a user with the README's rights and no others.
func TestContractWithSmallestRights(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	allow(t, server, "gatehouse", readme(t).gateway)
	connect := prefixed(config.Redis{Addresses: []string{server.Addr}, KeyPrefix: "p:", Username: "gatehouse", Password: "secret"})
	// Each store of the suite has a prefix of its own, so its patterns begin anywhere.
	for _, pattern := range readme(t).gateway {
		if rest, ok := strings.CutPrefix(pattern, "~p:"); ok {
			server.Do(t, "ACL", "SETUSER", "gatehouse", "~p:c*:"+rest)
		}
	}
	t.Run("contract", func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) (session.Store, func(time.Duration)) { return connect(t), time.Sleep })
	})
	if all := harmful(denied(t, server, "gatehouse")); len(all) > 0 {
		t.Errorf("denied: %v", all)
	}
}

// Each list of rights does for what it is for, and nothing in it can be left out: without it something fails that works with it.
func TestSmallestRights(t *testing.T) {
	t.Parallel()
	r := readme(t)
	for _, c := range []struct {
		name   string
		beside []string // rights that are given in any case
		tested []string
		asks   func(context.Context, *gateway) error
	}{
		{"the gateway's", nil, r.gateway, asksOfGateway},
		{"while sessions move", r.gateway, r.migration, asksOfMigration},
		{"the operators'", r.gateway, r.operator, asksOfOperator},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			t.Run("all", func(t *testing.T) {
				t.Parallel()
				server := testredis.Start(t)
				g := damagedGateway(t, server, slices.Concat(c.beside, c.tested))
				connected(t, g.store)
				if err := c.asks(t.Context(), g); err != nil {
					t.Error(err)
				}
				if all := harmful(denied(t, server, "gatehouse")); len(all) > 0 {
					t.Errorf("denied: %v", all)
				}
			})
			for i, right := range c.tested {
				if right == "resetkeys" || right == "resetchannels" || right == "-@all" {
					continue // they take away
				}
				t.Run("without "+right, func(t *testing.T) {
					t.Parallel()
					server := testredis.Start(t)
					g := damagedGateway(t, server, slices.Concat(c.beside, slices.Delete(slices.Clone(c.tested), i, i+1)))
					await(t, "Redis to refuse what it is for", func() bool {
						if right == "+ping" {
							// It is sent when there is silence. A no shows that Redis lives, too, but fills its log of denials.
							return misses(denied(t, server, "gatehouse"), right)
						}
						return c.asks(t.Context(), g) != nil && misses(denied(t, server, "gatehouse"), right)
					})
				})
			}
		})
	}
}

// damagedGateway is one with these rights on a Redis that holds what an audit finds.
func damagedGateway(t *testing.T, server *testredis.Server, rights []string) *gateway {
	t.Helper()
	healthy := newGateway(t, server.Addr, func(s *settings) { s.redis.KeyPrefix = "p:" })
	_, gone := healthy.login(t, "ada")
	_, endless := healthy.login(t, "ada")
	_, unindexed := healthy.login(t, "bob")
	_, misplaced := healthy.login(t, "eve")
	server.Do(t, "PERSIST", "p:"+name(endless))
	server.Do(t, "DEL", "p:"+name(gone), "p:"+session.IndexKey("bob"))
	server.Do(t, "COPY", "p:"+name(misplaced), "p:"+strings.Replace(name(misplaced), misplaced.ID.String(), unindexed.ID.String(), 1))
	// What others have loaded or asked must not stand in for a right.
	server.Do(t, "SCRIPT", "FLUSH")
	allow(t, server, "gatehouse", rights)
	return newGateway(t, server.Addr, func(s *settings) { as("gatehouse")(&s.redis); s.down = true })
}

// asksOfGateway is everything a gateway asks of Redis while it serves.
func asksOfGateway(ctx context.Context, g *gateway) error {
	token, rec, err := g.tryLogin("u")
	if err != nil {
		return err
	}
	for range 2 {
		s, err := g.Find(ctx, token)
		if err != nil {
			return err
		}
		if s.Source != session.FromCache && s.Source != session.FromStore {
			return fmt.Errorf("found in %s", s.Source)
		}
	}
	if s, err := g.Find(ctx, token); err != nil || s.Source != session.FromCache {
		return fmt.Errorf("the cache does not work: %s, %w", s.Source, err)
	}
	role := fmt.Sprint("role", rec.ID.Short())
	if n, err := g.Change(ctx, "u", session.Change{Role: &role}); err != nil || n == 0 {
		return fmt.Errorf("%d sessions changed, %w", n, err)
	}
	for range 2 {
		if _, _, err := g.store.Take(ctx, "account:u", 0.001, 1); err != nil {
			return err
		}
	}
	for range 25 { // over the limit
		if _, _, err := g.tryLogin("u"); err != nil {
			return err
		}
	}
	all, err := g.List(ctx, "u")
	if err != nil || len(all) == 0 {
		return fmt.Errorf("%d sessions listed, %w", len(all), err)
	}
	if err := g.Revoke(ctx, all[0].Key(), "u"); err != nil {
		return err
	}
	if _, err := g.RevokeUser(ctx, "u"); err != nil {
		return err
	}
	// A login that began before the revocation of all is refused, and heals the order of logins.
	late, _ := sessiontest.Record("u")
	if _, err := g.store.Create(ctx, late, session.CreateOptions{TTL: hour, MaxPerUser: 3, Began: session.EpochAt(0)}); !errors.Is(err, session.ErrSuperseded) {
		return fmt.Errorf("a late login: %w", err)
	}
	return g.Ready(ctx)
}

func asksOfMigration(ctx context.Context, g *gateway) error {
	_, rec, err := g.tryLogin("u")
	if err != nil {
		return err
	}
	_, imported := g.store.ImportSteps(ctx, rec, "row "+rec.ID.Short())
	return errors.Join(imported, g.store.MigrationSteps(ctx, "row "+rec.ID.Short()))
}

func asksOfOperator(ctx context.Context, g *gateway) error {
	_, rec, err := g.tryLogin("u")
	if err != nil {
		return err
	}
	o := session.NewOperator(g.Manager)
	_, err = o.Show(ctx, rec.ID.Short(), "")
	stats, counted := o.Stats(ctx, func(_, total int64) {
		if total == 0 {
			err = errors.Join(err, errors.New("the number of keys is unknown"))
		}
	})
	if counted == nil && (stats.Memory.Used == nil || stats.Memory.PerSession == nil) {
		counted = errors.New("the memory is unknown")
	}
	_, looked := o.Audit(ctx, false, nil)
	_, healed := o.Audit(ctx, true, nil)
	return errors.Join(err, counted, looked, healed)
}
