package session

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"

	"gatehouse/config"
	"gatehouse/database"
)

// rowPrefix begins the id column of rows the gateway makes. The application's tokens do not begin so.
const rowPrefix = "gh."

// maxRowID bounds what is asked for as an id column.
const maxRowID = 1024

// rowID is the ID of the session in a row the application made.
func rowID(row string) ID { return sha256.Sum256([]byte("gatehouse application row\x00" + row)) }

// rowOf gives the id column of a row the gateway makes: 121 bits of the ID as a UUID of version 8
// (RFC 9562), or all of it. Of the variant's byte the third bit is set too: MariaDB 10.11 refuses UUIDs of this
// version in which that byte is 0x80, one in 64.
func rowOf(id ID, form string) string {
	if form != config.NewIDUUID {
		return rowPrefix + id.String()
	}
	var b [16]byte
	copy(b[:], id[:])
	b[6], b[8] = b[6]&0x0f|0x80, b[8]&0x1f|0xa0
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

// firstRow comes before every id of the form.
func firstRow(form string) string {
	if form != config.NewIDUUID {
		return ""
	}
	return "00000000-0000-0000-0000-000000000000"
}

// askable reports whether a text can be an id column. What comes out of a cookie need not be: a NUL
// would be an error of PostgreSQL, and so a way for anybody to make the database look broken.
func askable(row string) bool {
	return row != "" && len(row) <= maxRowID && utf8.ValidString(row) && !strings.ContainsRune(row, 0)
}

// locate gives the id column of a session, and whether the gateway made the row; "" for sessions of which
// there can be no row.
func (s *DatabaseStore) locate(key Key) (row string, born bool) {
	switch {
	case key.Row != "" && askable(key.Row):
		return key.Row, false
	case key.Row == "" && key.Database:
		return rowOf(key.ID, s.cfg.NewID), true
	}
	return "", false
}

// idOf gives the ID of the session that locate has found.
func idOf(key Key) ID {
	if key.Row != "" {
		return rowID(key.Row)
	}
	return key.ID
}

// AtRest gives the id column of an application's token.
func (s *DatabaseStore) AtRest(token string) string {
	t := s.cfg.Token
	var sum []byte
	switch t.Hash {
	case config.TokenSHA256:
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	case config.TokenHMAC:
		mac := hmac.New(sha256.New, []byte(t.Secret.Reveal()))
		mac.Write([]byte(token))
		sum = mac.Sum(nil)
	default:
		sum = []byte(token)
	}
	switch t.Encoding {
	case config.TokenHex:
		return t.Prefix + hex.EncodeToString(sum)
	case config.TokenBase64:
		return t.Prefix + base64.StdEncoding.EncodeToString(sum)
	case config.TokenBase64URL:
		return t.Prefix + base64.RawURLEncoding.EncodeToString(sum)
	default:
		return t.Prefix + string(sum)
	}
}

// expiryForm is what the column expires_at holds.
type expiryForm struct {
	as       string
	lifetime time.Duration
}

// value gives a time as the column holds it.
func (f expiryForm) value(t time.Time) any {
	switch f.as {
	case config.ExpiryEpoch:
		return t.Unix()
	case config.ExpiryEpochMS:
		return t.UnixMilli()
	case config.ExpiryLastUse:
		return t.Add(-f.lifetime).Unix()
	default:
		return t.UTC()
	}
}

// read gives when the row expires; the zero time when the column is NULL.
func (f expiryForm) read(r *database.Row) (time.Time, error) {
	const column = "expires_at"
	if r.Null(column) {
		return time.Time{}, nil
	}
	if f.as == config.ExpiryTimestamp {
		return r.Time(column)
	}
	n, err := r.Int(column)
	if err != nil {
		return time.Time{}, err
	}
	switch f.as {
	case config.ExpiryEpochMS:
		return time.UnixMilli(n).UTC(), nil
	case config.ExpiryLastUse:
		return time.Unix(n, 0).UTC().Add(f.lifetime), nil
	default:
		return time.Unix(n, 0).UTC(), nil
	}
}
