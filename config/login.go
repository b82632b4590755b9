package config

import "time"

// Login says how people log in and out.
type Login struct {
	// Path of the login form. Default /login.
	Path string `mapstructure:"path"`
	// LogoutPath, where a POST ends the session. Default /logout.
	LogoutPath string `mapstructure:"logout_path"`
	// Backend is file (the gateway's own form and user file), app (the application's own form) or database
	// (the gateway's form and the application's users table). Default file.
	Backend string `mapstructure:"backend"`
	// File is read with backend file.
	File LoginFile `mapstructure:"file"`
	// App is read with backend app.
	App LoginApp `mapstructure:"app"`
	// Database is read with backend database.
	Database LoginDatabase `mapstructure:"database"`
	// Limits slow down the guessing of passwords (case L03).
	Limits LoginLimits `mapstructure:"limits"`
}

// LoginFile is the backend file's section.
type LoginFile struct {
	// Path of the user file. Relative paths start at the config file's folder. Default users.yaml.
	Path string `mapstructure:"path" file:"true"`
	// Refresh is how long ago a user may have been read from the file when a request is served: changes there reach live
	// sessions, and those of users who are gone or disabled end. 0 turns it off. Default 1m.
	Refresh time.Duration `mapstructure:"refresh"`
}

// LoginApp is the backend app's section: how a login through the application's own form is recognised.
type LoginApp struct {
	// Success lists the marks of a successful login; at least one is required with backend app.
	Success AppSuccess `mapstructure:"success"`
	// Identity says where the application tells who has logged in.
	Identity AppIdentity `mapstructure:"identity"`
	// Vault says which of the application's cookies the gateway keeps away from the browser.
	Vault Vault `mapstructure:"vault"`
	// AccountFields are the names under which the login form may send the account, for the
	// rate limit per account. Default email, username, user, account, _username, j_username.
	AccountFields []string `mapstructure:"account_fields"`
	// CompletionPaths are further exact paths whose POST may complete a login, such as the
	// second step of a two-step login. Default: none.
	CompletionPaths []string `mapstructure:"completion_paths"`
	// MaxResponse bounds the application's answer to a login, in bytes. Default 1MiB.
	MaxResponse Size `mapstructure:"max_response"`
	// Timeout bounds the whole exchange with the application at login, whoami included. Default 15s.
	Timeout time.Duration `mapstructure:"timeout"`
}

// AppSuccess lists the marks of a successful login. Every one that is set must be there.
type AppSuccess struct {
	// Status codes, one of which the answer must have. Default: none set.
	Status []int `mapstructure:"status"`
	// Location values, one of which must equal the answer's Location exactly.
	Location []string `mapstructure:"location"`
	// ContentType the answer must have, without parameters.
	ContentType string `mapstructure:"content_type"`
	// Header the answer must carry: "Name" (present, not empty) or "Name: value" (equal).
	Header string `mapstructure:"header"`
	// JSONField that the answer's JSON object must have: "ok" (present, not null, false or empty)
	// or "ok=true" (equal). Dots reach into nested objects.
	JSONField string `mapstructure:"json_field"`
}

// AppIdentity says where the application tells who has logged in.
type AppIdentity struct {
	// From is header (the answer's headers), json (its body) or whoami (a further request). Required with backend app.
	From string `mapstructure:"from"`
	// WhoamiPath is requested with the cookies the application has just set. Required with from: whoami.
	WhoamiPath string `mapstructure:"whoami_path"`
	// Fields name the header or JSON field (dots reach into nested objects) of each attribute.
	Fields IdentityFields `mapstructure:"fields"`
}

// IdentityFields name the application's fields. UserID is required, an empty name means the attribute is not read.
type IdentityFields struct {
	// UserID is the field with the application's own id of the user.
	UserID string `mapstructure:"userId"`
	// Email is the field with the e-mail address.
	Email string `mapstructure:"email"`
	// Name is the field with the name people read.
	Name string `mapstructure:"name"`
	// Role is the field with the one role the rules are compared with.
	Role string `mapstructure:"role"`
	// EmailVerified is the field that says whether the address was confirmed.
	EmailVerified string `mapstructure:"emailVerified"`
}

// Vault says which application cookies are kept in the session.
type Vault struct {
	// HTTPOnly keeps every cookie the application marks HttpOnly. This is the default.
	HTTPOnly bool
	// Names keeps these cookies, whatever their attributes.
	Names []string
}

// The values of Login.Backend.
const (
	BackendFile     = "file"
	BackendApp      = "app"
	BackendDatabase = "database"
)

// The values of AppIdentity.From.
const (
	FromHeader = "header"
	FromJSON   = "json"
	FromWhoami = "whoami"
)

// LoginLimits bound login attempts, over all replicas together; while Redis is away, on this one.
type LoginLimits struct {
	// PerAddress is the rate per client address (IPv6: per /64). Default 30/m.
	PerAddress Rate `mapstructure:"per_address"`
	// PerAccount is the rate per folded account name. Default 10/m.
	PerAccount Rate `mapstructure:"per_account"`
	// Burst is how many attempts may come at once before the rates hold. Default 10.
	Burst int `mapstructure:"burst"`
	// MaxConcurrentHashes bounds password hashing in parallel: each takes a core that requests leave over, and the memory its
	// hash says. 32 times as many logins may be on their way; more get 503. Default 2 (L05).
	MaxConcurrentHashes int `mapstructure:"max_concurrent_hashes"`
}
