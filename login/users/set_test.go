package users_test

import (
	"testing"

	"gatehouse/login/users"
)

// An ID is found as it is written, and only so: it is not folded like an account.
func TestByID(t *testing.T) {
	t.Parallel()
	const hash = `"$2y$05$abcdefghijklmnopqrstuujf8SX2ahXLwp9w/B.Y5XdysS6yR576q"`
	set, err := users.Parse([]byte("users:\n" +
		"  - {id: 1, email: a@example.com, password_hash: " + hash + "}\n" +
		"  - {id: U-2, email: b@example.com, disabled: true, password_hash: " + hash + "}\n"))
	if err != nil {
		t.Fatal(err)
	}
	for id, email := range map[string]string{"1": "a@example.com", "U-2": "b@example.com", "u-2": "", "01": "", "a@example.com": "", "": ""} {
		if u, ok := set.ByID(id); ok != (email != "") || u.Email != email {
			t.Errorf("%q: %+v, %t", id, u, ok)
		}
	}
	if u, ok := new(users.Set).ByID("1"); ok {
		t.Errorf("nobody: %+v", u)
	}
}
