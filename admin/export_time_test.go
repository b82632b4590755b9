package admin_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"gatehouse/admin"
	"gatehouse/config"
	"gatehouse/session"
)

// patient is a client's connection that notes what time each piece of an export is given.
type patient struct {
	*httptest.ResponseRecorder
	until time.Time // of the deadline that has been set and not been used yet
	sent  int
	stale int // pieces sent with the time of an earlier one
}

func (p *patient) SetWriteDeadline(t time.Time) error {
	p.until = t
	return nil
}

func (p *patient) Write(b []byte) (int, error) {
	p.use()
	return p.ResponseRecorder.Write(b)
}

func (p *patient) FlushError() error {
	p.use()
	return nil
}

func (p *patient) use() {
	p.sent++
	if p.until.IsZero() {
		p.stale++
	}
	p.until = time.Time{}
}

// The time for a client that takes nothing is each piece's own: an export as a whole may take longer.
func TestEachPieceOfAnExportHasItsTime(t *testing.T) {
	t.Parallel()
	f := &fake{}
	rec := f.record("u")
	f.each = func(each func(*session.Record, error) error) error {
		for range 5000 {
			if err := each(rec, nil); err != nil {
				return err
			}
		}
		return nil
	}
	handler, err := admin.New(config.Admin{Token: secret}, admin.Deps{Sessions: f, Changes: f})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/api/v1/export", nil)
	r.Header.Set("Authorization", "Bearer "+secret)
	p := &patient{ResponseRecorder: httptest.NewRecorder()}
	handler.ServeHTTP(p, r)
	if p.Code != 200 || p.sent < 10 || p.stale > 0 {
		t.Errorf("%d: %d of %d pieces were sent with the time of an earlier one", p.Code, p.stale, p.sent)
	}
}
