package sample

import (
	"crypto/subtle"
	"strings"
)

// User is an account of the application.
type User struct {
	ID    int64
	Email string
	Name  string
	Role  string
	// Password in the clear, as no application should keep it: it is printed by `gatehouse demo`.
	Password string
}

// Users lists the accounts, so that the demo can make a user file of the same people.
func Users() []User {
	return []User{
		{ID: 1, Email: "admin@example.com", Name: "Ada Admin", Role: "admin", Password: "correct-horse-1"},
		{ID: 2, Email: "user@example.com", Name: "Uma User", Role: "user", Password: "correct-horse-2"},
	}
}

// authenticate finds the user of an email address and password.
func authenticate(email, password string) (User, bool) {
	email = strings.ToLower(strings.TrimSpace(email))
	for _, u := range Users() {
		if u.Email == email {
			return u, subtle.ConstantTimeCompare([]byte(u.Password), []byte(password)) == 1
		}
	}
	return User{}, false
}
