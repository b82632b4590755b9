// Package users is the user file of backend file: reading it strictly, following its changes,
// and editing it without disturbing what people wrote into it.
package users

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"

	"gatehouse/login/password"
)

// User is one entry of the file.
type User struct {
	// ID is what the application gets as X-User-Id. Unique in the file.
	ID string
	// Email is what people type to log in. Unique in the file when folded.
	Email string
	Name  string
	Role  string
	// EmailVerified is passed on as it is; nobody here verifies anything.
	EmailVerified bool
	// Disabled users cannot log in, and their sessions end when users are read again (login.file.refresh).
	Disabled bool
	// Hash of the password.
	Hash password.Hash
	// Line of the entry in the file.
	Line int
}

// Set is the content of one version of the file. It is immutable and safe for concurrent use.
// The zero Set has no users.
type Set struct {
	users     []User
	byAccount map[string]int
	byID      map[string]int
	decoyKey  [sha256.Size]byte
	// nextID is the file's next_id; 0 when it is not there.
	nextID uint64
}

// Len is the number of users.
func (s *Set) Len() int { return len(s.users) }

// All gives the users in the order of the file.
func (s *Set) All() []User { return slices.Clone(s.users) }

// Find gives the user who logs in with this account, however it is spelled (see [Fold]).
func (s *Set) Find(account string) (User, bool) {
	i, ok := s.byAccount[Fold(account)]
	if !ok {
		return User{}, false
	}
	return s.users[i], true
}

// ByID gives the user of an ID.
func (s *Set) ByID(id string) (User, bool) {
	i, ok := s.byID[id]
	if !ok {
		return User{}, false
	}
	return s.users[i], true
}

// Decoy gives the hash to check a password against when there is no such account, so that the
// answer takes as long as for an account that exists (L04). It is the hash of some user of the file, whose
// result must be thrown away. One account always gets the same one, on every replica with the same
// file: in a file with hashes of several costs, an account that is now slow and now fast would show
// that it does not exist.
func (s *Set) Decoy(account string) password.Hash {
	if len(s.users) == 0 {
		return emptyDecoy()
	}
	mac := hmac.New(sha256.New, s.decoyKey[:])
	mac.Write([]byte(Fold(account)))
	i := binary.BigEndian.Uint64(mac.Sum(nil)) % uint64(len(s.users))
	return s.users[i].Hash
}

// emptyDecoy has the parameters a first user would get.
func emptyDecoy() password.Hash {
	p := password.Default()
	h, err := password.Parse(fmt.Sprintf("$argon2id$v=19$m=%d,t=%d,p=%d$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		p.Memory, p.Time, p.Threads))
	if err != nil {
		panic(err) // a constant
	}
	return h
}

// maxID keeps IDs made here exact in JSON numbers and in JavaScript.
const maxID = 1<<53 - 1

// NextID is the ID a new user gets when none is asked for: one more than the greatest whole number
// that is, or is known to have been, an ID. IDs of removed users are not given again: their sessions
// and their data in the application would become the new user's.
func (s *Set) NextID() string {
	next := max(s.nextID, 1)
	for _, u := range s.users {
		if n, ok := numericID(u.ID); ok && n >= next {
			next = n + 1
		}
	}
	return strconv.FormatUint(next, 10)
}

// numericID is the value of an ID that NextID could have made.
func numericID(id string) (uint64, bool) {
	n, err := strconv.ParseUint(id, 10, 64)
	return n, err == nil && n < maxID && strconv.FormatUint(n, 10) == id
}
