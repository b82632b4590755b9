package session_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// In a Cluster the sessions are on all masters, and each is met once; the replicas' copies are not.
func TestOperatorOverCluster(t *testing.T) {
	t.Parallel()
	cluster := testredis.StartCluster(t, 3, 1)
	store := openConfig(t, config.Redis{Addresses: cluster.Addresses(), Timeout: 5 * time.Second}, session.Options{})
	connected(t, store)
	m := session.NewManager(store, config.Session{Idle: hour, Absolute: hour, MaxPerUser: 20}, config.Outage{}, session.Options{})
	t.Cleanup(func() { m.Close(context.Background()) })
	g := &gateway{Manager: m}
	var last *session.Record
	for i := range 60 {
		_, last = g.login(t, fmt.Sprintf("u%d", i%30))
	}
	o := session.NewOperator(m)
	if got, err := o.Show(t.Context(), last.ID.Short(), ""); err != nil || got.ID != last.ID {
		t.Errorf("%v, %v", got, err)
	}
	s, err := o.Stats(t.Context(), nil)
	if err != nil || s.Sessions != 60 || s.Users != 30 || s.Memory.Used == nil || s.Memory.Sampled != 60 {
		t.Errorf("%+v, %v", s, err)
	}
	for _, user := range []string{"u1", "u2", "u3", "u4", "u5"} {
		cluster.MasterOf(session.IndexKey(user)).Do(t, "DEL", session.IndexKey(user))
	}
	for _, want := range []struct{ problems, repaired int64 }{{10, 10}, {0, 0}} {
		r, err := o.Audit(t.Context(), true, nil)
		if err != nil || r.Sessions != 60 || r.Problems != want.problems || r.Repaired != want.repaired {
			t.Errorf("%+v, %v, want %+v", r, err, want)
		}
	}
}

// The README's rights for operators are enough for all they do, beside the gateways' own.
func TestOperatorsRights(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	allow(t, server, "gatehouse", slices.Concat(readme(t).gateway, readme(t).operator))
	o, g := newOperator(t, server, func(s *settings) {
		s.redis.KeyPrefix, s.redis.Username, s.redis.Password = "p:", "gatehouse", "secret"
	})
	_, rec := g.login(t, "ada")
	g.login(t, "ada")
	server.Do(t, "ZREM", "p:"+session.IndexKey("ada"), rec.ID.String())
	server.Do(t, "ZADD", "p:"+session.IndexKey("ada"), "99999999999999", "gone")
	if _, err := o.Show(t.Context(), rec.ID.Short(), ""); err != nil {
		t.Error(err)
	}
	if s, err := o.Stats(t.Context(), nil); err != nil || s.Memory.Used == nil || s.Memory.Sampled != 2 {
		t.Errorf("%+v, %v", s, err)
	}
	if r, err := o.Audit(t.Context(), true, nil); err != nil || r.Repaired != 2 {
		t.Errorf("%+v, %v", r, err)
	}
	if n, err := o.RevokeUser(t.Context(), "ada"); err != nil || n != 2 {
		t.Errorf("%d, %v", n, err)
	}
}
