package session_test

import (
	"strings"
	"testing"

	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// The trail does not say of a session that an operator has ended it before the store has said so.
func TestOperatorsRevocationThatIsNotConfirmed(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	o, g := newOperator(t, server)
	_, rec := g.login(t, "ada")
	_, other := g.login(t, "ada")
	if err := o.Revoke(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	server.Kill()
	if err := o.Revoke(t.Context(), rec); !isError(err, session.ErrUnconfirmed) {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"event":"revoke","user":"ada","session":"` + other.ID.Short() + `","reason":"operator"`,
		`"event":"revoke","user":"ada","session":"` + rec.ID.Short() + `","reason":"unconfirmed"`,
	} {
		if !strings.Contains(g.log.String(), want) {
			t.Errorf("no %s in\n%s", want, g.log)
		}
	}
}
