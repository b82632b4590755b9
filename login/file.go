package login

import (
	"context"
	"time"

	"gatehouse/config"
	"gatehouse/login/users"
	"gatehouse/session"
)

// fileAccounts is backend file: the users of the user file.
type fileAccounts struct {
	users *users.File
	// refreshEvery is login.file.refresh.
	refreshEvery time.Duration
}

func newFileBackend(cfg config.Login, h *Handler) (backend, error) {
	file, err := users.Open(cfg.File.Path, h.deps.Log)
	if err != nil {
		return nil, err
	}
	return newFormBackend(cfg, h, fileAccounts{users: file, refreshEvery: cfg.File.Refresh}), nil
}

func (fileAccounts) name() string { return BackendFile }

func (f fileAccounts) close() error { return f.users.Close() }

func (f fileAccounts) known(typed string) string {
	user, _ := f.users.Users().Find(typed)
	return user.Email
}

func (f fileAccounts) find(_ context.Context, typed string) (account, error) {
	set := f.users.Users()
	user, exists := set.Find(typed)
	if !exists {
		return account{hash: set.Decoy(typed), decoy: true, refused: reasonBadCredentials}, nil
	}
	a := account{hash: user.Hash, known: user.Email, User: session.User{
		ID: user.ID, Email: user.Email, Name: user.Name, Role: user.Role, EmailVerified: user.EmailVerified,
	}}
	if user.Disabled {
		a.refused = reasonBadCredentials
	}
	return a, nil
}
