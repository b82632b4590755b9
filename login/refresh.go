package login

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/login/users"
	"gatehouse/session"
)

// refreshing are accounts that can be asked about a user while that user is not there. Backend app cannot: its application
// knows people by what their browser sends.
type refreshing interface{ refresh() session.Refresh }

// Refresh is how the users of live sessions are read again from the backend; Every is 0 when they are not.
func (h *Handler) Refresh() session.Refresh {
	if b, ok := h.backend.(refreshing); ok {
		return b.refresh()
	}
	return session.Refresh{}
}

func (b *formBackend) refresh() session.Refresh {
	if a, ok := b.accounts.(refreshing); ok {
		return a.refresh()
	}
	return session.Refresh{}
}

func (f fileAccounts) refresh() session.Refresh {
	return session.Refresh{Every: f.refreshEvery, Backend: BackendFile, Read: func(_ context.Context, userID string) (session.Change, error) {
		return readFromFile(f.users.Users(), userID)
	}}
}

// errNoUsers: a file without any user is one that was lost, not one from which everybody was removed: nobody is
// logged out for it.
var errNoUsers = errors.New("login: the user file holds no users")

// readFromFile gives what the file says of a user now.
func readFromFile(set *users.Set, userID string) (session.Change, error) {
	user, exists := set.ByID(userID)
	switch {
	case set.Len() == 0:
		return session.Change{}, errNoUsers
	case !exists:
		return session.Change{}, session.ErrUserMissing
	case user.Disabled:
		return session.Change{}, fmt.Errorf("%w: %s", session.ErrUserRefused, reasonDisabled)
	}
	return session.Change{Email: &user.Email, Name: &user.Name, Role: &user.Role, EmailVerified: &user.EmailVerified}, nil
}
