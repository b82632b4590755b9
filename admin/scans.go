package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"gatehouse/session"
	"gatehouse/telemetry"
)

// lineTime bounds the wait for a client that does not take the next lines of an export; the export may take longer.
const lineTime = time.Minute

// scanning runs f, which goes through all sessions, unless another request does so already.
func (a *api) scanning(f func() error) error {
	if !a.scan.TryLock() {
		return errBusy
	}
	defer a.scan.Unlock()
	return f()
}

// stats answers GET /stats.
func (a *api) stats(r *http.Request) (stats any, err error) {
	err = a.scanning(func() error { stats, err = a.Sessions.Stats(r.Context(), nil); return err })
	return stats, err
}

// audit answers GET /audit, which changes nothing; repair answers POST /audit/repair. They are two paths, and not one
// with a switch in the query, so that no mistake makes a look into a repair.
func (a *api) audit(r *http.Request) (any, error) { return a.compare(r, false) }

func (a *api) repair(r *http.Request) (any, error) { return a.compare(r, true) }

func (a *api) compare(r *http.Request, repair bool) (report any, err error) {
	err = a.scanning(func() error { report, err = a.Sessions.Audit(r.Context(), repair, nil); return err })
	return report, err
}

// export answers GET /export: a line of JSON for each session, as they are found. A million of them need some 40 MB meanwhile:
// the walk remembers their keys, 37 bytes each (measured), so that none comes twice.
func (a *api) export(w http.ResponseWriter, r *http.Request) error {
	return a.scanning(func() error {
		e := &exporter{w: w, control: http.NewResponseController(w)}
		e.buffer = bufio.NewWriterSize(pieces{e}, 32<<10)
		// The connection outlives this request.
		defer func() { _ = e.control.SetWriteDeadline(time.Time{}) }()
		err := a.Sessions.Each(r.Context(), nil, e.line)
		if err != nil && !e.begun {
			return err
		}
		if err == nil {
			err = e.end()
		}
		if err != nil {
			// The status has gone out. A last line says why, and the connection is cut, so that nobody takes a part for the whole.
			telemetry.RequestFrom(r.Context()).Error = err.Error()
			_ = e.write(map[string]any{"error": map[string]string{"code": problemOf(err).code, "message": "The export is not complete."}})
			_ = e.end()
			panic(http.ErrAbortHandler)
		}
		return nil
	})
}

// exporter writes the lines. Nothing goes out before the first one: until then an error is a proper answer.
type exporter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	buffer  *bufio.Writer
	begun   bool
}

func (e *exporter) line(rec *session.Record, err error) error {
	if errors.Is(err, session.ErrCorrupt) {
		return e.write(map[string]any{"error": map[string]string{"code": "corrupt", "message": "A record cannot be read and is no session; /audit names it."}})
	}
	if err != nil {
		return err
	}
	return e.write(rec.View())
}

func (e *exporter) write(v any) error {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "application/x-ndjson")
		e.w.WriteHeader(http.StatusOK)
	}
	return json.NewEncoder(e.buffer).Encode(v)
}

// end sends what is left; an export without sessions is an empty answer.
func (e *exporter) end() error {
	if !e.begun {
		e.begun = true
		e.w.Header().Set("Content-Type", "application/x-ndjson")
		e.w.WriteHeader(http.StatusOK)
	}
	if err := e.buffer.Flush(); err != nil {
		return err
	}
	e.allow()
	return e.control.Flush()
}

// allow gives the client its time for what is sent next.
func (e *exporter) allow() {
	_ = e.control.SetWriteDeadline(time.Now().Add(lineTime)) // not every writer has one
}

// pieces is the way from the buffer to the client.
type pieces struct{ e *exporter }

// Write sends a piece.
func (p pieces) Write(b []byte) (int, error) {
	p.e.allow()
	return p.e.w.Write(b)
}
