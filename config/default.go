package config

import "time"

// Default gives a new Config with every default filled in. Only Upstream is missing, which has none.
// Session.Cookie.Name is empty, because its default depends on other keys: see [Cookie.DefaultName].
func Default() *Config {
	return &Config{
		Listen:               "127.0.0.1:8080",
		Default:              Protected,
		Methods:              []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"},
		Login:                defaultLogin(),
		Session:              defaultSession(),
		Redis:                Redis{Addresses: []string{"127.0.0.1:6379"}, Timeout: 250 * time.Millisecond},
		Database:             Database{MaxConnections: 10, Timeout: time.Second},
		Migration:            Migration{Import: MigrationImport{Rate: 500, Batch: 500}},
		Outage:               Outage{ServeKnownFor: time.Minute, Login: OutageLoginRefuse},
		Headers:              defaultHeaders(),
		Assertion:            Assertion{Header: "X-Gatehouse-Assertion", Algorithm: AlgorithmEdDSA, Lifetime: time.Minute},
		IdentitySecretHeader: IdentitySecretHeader{Name: "X-Gatehouse-Secret"},
		Requests:             Requests{StripResponseHeaders: true},
		Limits:               Limits{MaxBody: GiB, MaxHeaderBytes: 64 * KiB, MaxHeaderLines: 200, MaxCookies: 1000, MaxURI: 8 * KiB},
		ConnectionLimits:     ConnectionLimits{PerAddress: 1000, Total: 10000},
		Timeouts:             defaultTimeouts(),
		Log:                  Log{Level: "info", Format: "auto"},
		ShutdownTimeout:      30 * time.Second,
	}
}

func defaultLogin() Login {
	return Login{
		Path:       "/login",
		LogoutPath: "/logout",
		Backend:    BackendFile,
		File:       LoginFile{Path: "users.yaml", Refresh: time.Minute},
		App: LoginApp{
			Vault:         Vault{HTTPOnly: true},
			AccountFields: []string{"email", "username", "user", "account", "_username", "j_username"},
			MaxResponse:   MiB,
			Timeout:       15 * time.Second,
		},
		Database: LoginDatabase{
			Query:        "SELECT id, email, name, email_verified, role, password_hash FROM users WHERE lower(email) = lower($1)",
			RefreshQuery: "SELECT id, email, name, email_verified, role FROM users WHERE id = $1",
			Rehash:       Rehash{Update: "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3"},
		},
		Limits: LoginLimits{
			PerAddress:          Rate{Events: 30, Per: time.Minute},
			PerAccount:          Rate{Events: 10, Per: time.Minute},
			Burst:               10,
			MaxConcurrentHashes: 2,
		},
	}
}

func defaultSession() Session {
	return Session{
		Idle:       168 * time.Hour,
		Absolute:   720 * time.Hour,
		MaxPerUser: 20,
		AtLimit:    EvictOldest,
		CacheSize:  DefaultCacheSize,
		Cookie:     Cookie{Secure: true, SameSite: SameSiteLax},
		Database: SessionDatabase{
			Preset: PresetTable, NewID: NewIDText, Expiry: DatabaseExpiry{Lifetime: 2 * time.Hour}, CleanupBatch: 1000,
		},
	}
}

func defaultHeaders() []Header {
	return []Header{
		{Name: "X-User-Id", Value: "userId", Encoding: EncodingPercent},
		{Name: "X-User-Email", Value: "email", Encoding: EncodingPercent},
		{Name: "X-User-Name", Value: "name", Encoding: EncodingPercent},
		{Name: "X-User-Role", Value: "role", Encoding: EncodingPercent},
		{Name: "X-User-Email-Verified", Value: "emailVerified", Encoding: EncodingPercent},
	}
}

func defaultTimeouts() Timeouts {
	return Timeouts{
		ReadHeader:     10 * time.Second,
		Body:           60 * time.Second,
		Idle:           120 * time.Second,
		Connect:        5 * time.Second,
		ResponseHeader: 60 * time.Second,
		UpstreamIdle:   4 * time.Second,
	}
}
