package session

import (
	"fmt"
	"strings"
	"time"

	"gatehouse/config"
	"gatehouse/database"
	"gatehouse/session/appsession"
)

// preset is what a framework's sessions look like: what applyPreset fills in where the configuration
// says nothing.
type preset struct {
	token    config.DatabaseToken
	cookie   config.AppCookie
	expiry   string
	lifetime time.Duration
	queries  config.SessionQueries
}

// applyPreset fills in what the configuration leaves empty. An error names the key.
func applyPreset(cfg config.SessionDatabase, d database.Dialect) (config.SessionDatabase, error) {
	p, err := presetOf(cfg.Preset, d)
	if err != nil {
		return cfg, err
	}
	if cfg.Token.Hash == "" {
		// Hash and prefix belong together: a hash of one's own has no framework's prefix.
		cfg.Token.Hash = p.token.Hash
		or(&cfg.Token.Prefix, p.token.Prefix)
	}
	if cfg.Token.Hash == config.TokenPlain {
		or(&cfg.Token.Encoding, config.TokenText)
	}
	or(&cfg.Token.Encoding, config.TokenHex)
	if cfg.Token.Hash == config.TokenHMAC && cfg.Token.Secret == "" {
		return cfg, fmt.Errorf("session.database.token.secret is missing, but hash: %s needs it", config.TokenHMAC)
	}
	or(&cfg.Cookie.Name, p.cookie.Name)
	or(&cfg.Cookie.Scheme, p.cookie.Scheme)
	or(&cfg.Expiry.As, p.expiry)
	if cfg.Expiry.Lifetime == 0 {
		cfg.Expiry.Lifetime = p.lifetime
	}
	or(&cfg.NewID, config.NewIDText)
	q, from := &cfg.Queries, p.queries
	for to, value := range map[*string]string{
		&q.Find: from.Find, &q.Lock: from.Lock, &q.Insert: from.Insert, &q.Touch: from.Touch, &q.Mark: from.Mark,
		&q.Delete: from.Delete, &q.DeleteUser: from.DeleteUser, &q.List: from.List, &q.Scan: from.Scan,
		&q.Count: from.Count, &q.DeleteExpired: from.DeleteExpired, &q.User: from.User,
	} {
		or(to, value)
	}
	return cfg, nil
}

func or(to *string, value string) {
	if *to == "" {
		*to = value
	}
}

func presetOf(name string, d database.Dialect) (preset, error) {
	switch name {
	case config.PresetTable, "":
		return presetTable(d, "sid"), nil
	case config.PresetPHP:
		return presetTable(d, "PHPSESSID"), nil
	case config.PresetConnectPgSimple:
		if d != database.Postgres {
			return preset{}, fmt.Errorf("session.database.preset: %s is for PostgreSQL, and database.url is not", name)
		}
		return presetConnectPgSimple(), nil
	case config.PresetLaravel:
		return presetLaravel(d), nil
	case config.PresetDjango:
		return presetDjango(d), nil
	case config.PresetRails:
		return presetRails(d), nil
	}
	return preset{}, fmt.Errorf("session.database.preset: %q is not one", name)
}

// AppCookieReader gives what reads the application's session cookie, and the cookie's name. An error names
// the key of the configuration.
func AppCookieReader(cfg config.SessionDatabase) (reader *appsession.Cookie, name string, err error) {
	// Nothing of the cookie depends on the dialect, and connect-pg-simple has one only.
	cfg, err = applyPreset(cfg, database.Postgres)
	if err != nil {
		return nil, "", err
	}
	reader, err = appsession.NewCookie(cfg.Cookie.Scheme, cfg.Cookie.Name, secretsOf(cfg.Cookie.Secret))
	if err != nil {
		return nil, "", fmt.Errorf("session.database.cookie: %w", err)
	}
	return reader, cfg.Cookie.Name, nil
}

// secretsOf takes the lines of a secret, one secret each.
func secretsOf(s config.Secret) (all []string) {
	for line := range strings.Lines(s.Reveal()) {
		if line = strings.Trim(line, "\r\n"); line != "" {
			all = append(all, line)
		}
	}
	return all
}

// newPayloadReader gives nil for presets whose rows name their user.
func newPayloadReader(cfg config.SessionDatabase) (payloadReader, error) {
	switch cfg.Preset {
	case config.PresetDjango:
		keys := secretsOf(cfg.Cookie.Secret)
		if len(keys) == 0 {
			return nil, fmt.Errorf("session.database.cookie.secret is missing: preset %s needs the application's SECRET_KEY", cfg.Preset)
		}
		return djangoPayload(keys), nil
	case config.PresetRails:
		return railsPayload, nil
	}
	return nil, nil
}
