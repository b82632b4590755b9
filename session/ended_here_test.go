package session_test

import (
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// What this replica has ended is listed nowhere here, though the store, which refuses deletions, still has it.
func TestEndedSessionsAreNotListed(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	_, one := g.login(t, "ada")
	_, other := g.login(t, "ada")
	g.login(t, "bob")
	server.Do(t, "ACL", "SETUSER", "default", "-del", "-unlink")
	if err := g.Revoke(t.Context(), one.Key(), "ada"); !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("Revoke: %v", err)
	}
	if _, err := g.RevokeUser(t.Context(), "bob"); !isError(err, session.ErrUnconfirmed) {
		t.Fatalf("RevokeUser: %v", err)
	}
	list, err := g.List(t.Context(), "ada")
	if err != nil {
		t.Fatal(err)
	}
	lists(t, list, []*session.Record{other}, false)
	if list, err = g.List(t.Context(), "bob"); err != nil || len(list) != 0 {
		t.Errorf("of bob %d are listed, %v", len(list), err)
	}
	if _, err := o.Show(t.Context(), one.ID.String(), "ada"); !isError(err, session.ErrNotFound) {
		t.Errorf("Show: %v", err)
	}
	all := 0
	if err := o.Each(t.Context(), nil, func(rec *session.Record, err error) error {
		if all++; err != nil || rec.ID != other.ID {
			t.Errorf("Each: %v, %v", rec, err)
		}
		return nil
	}); err != nil || all != 1 {
		t.Errorf("Each gave %d, %v", all, err)
	}
}
