package session

import "time"

// View is what programs and people may see of a session: nothing of it lets anybody in. Sealed secrets, the names of
// rows in the application's table, and fields of other versions, whose meaning is unknown, are not in it.
type View struct {
	ID            string    `json:"id"`
	UserID        string    `json:"userId"`
	Email         string    `json:"email"`
	Name          string    `json:"name"`
	EmailVerified bool      `json:"emailVerified"`
	Role          string    `json:"role"`
	CreatedAt     time.Time `json:"createdAt"`
	LastAccessed  time.Time `json:"lastAccessed"`
	// ExpiresAt is the absolute limit; without use a session ends earlier (session.idle).
	ExpiresAt time.Time `json:"expiresAt"`
	// Backend that vouched for the user; "" for a session the application made.
	Backend   string `json:"backend,omitempty"`
	IP        string `json:"ip,omitempty"`
	UserAgent string `json:"userAgent,omitempty"`
	// Store that holds it: redis, or database for the application's table.
	Store Source `json:"store"`
	// Database is what a record in Redis has to do with the application's table: "copy" or "moved".
	Database string `json:"database,omitempty"`
}

// View gives what may be seen of the session.
func (r *Record) View() View {
	v := View{
		ID: r.ID.String(), UserID: r.User.ID, Email: r.Email, Name: r.Name, EmailVerified: r.EmailVerified, Role: r.Role,
		CreatedAt: r.CreatedAt, LastAccessed: r.LastAccessed, ExpiresAt: r.ExpiresAt,
		Backend: r.Backend, IP: r.IP, UserAgent: r.UserAgent, Store: FromStore, Database: r.Database,
	}
	if r.row != "" || r.born && r.Database == "" {
		v.Store = FromDatabase // what is in Redis of such a session says copy or moved
	}
	return v
}
