package sample

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// events sends an event at once and then one per interval, until the client goes (Server-Sent
// Events, HTML standard section 9.2). Each names the caller, so that one sees whose stream it is.
func (a *app) events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	tick := time.NewTicker(a.opts.EventInterval)
	defer tick.Stop()
	for n := 1; ; n++ {
		data, err := json.Marshal(map[string]any{"n": n, "time": a.opts.Clock().UTC(), "user": a.caller(r).Email})
		if err != nil {
			return
		}
		if _, err := fmt.Fprintf(w, "id: %d\ndata: %s\n\n", n, data); err != nil {
			return
		}
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// webSocket sends every message back.
func (a *app) webSocket(w http.ResponseWriter, r *http.Request) {
	var opts websocket.AcceptOptions
	if host := r.Header.Get("X-Forwarded-Host"); a.opts.TrustHeaders && host != "" {
		opts.OriginPatterns = []string{host} // the host people typed; ours may be another one
	}
	c, err := websocket.Accept(w, r, &opts)
	if err != nil {
		return // Accept has answered
	}
	defer c.CloseNow()
	// Not the request's context: net/http no longer watches a connection that was taken over. The
	// read itself ends when the connection does.
	ctx := context.WithoutCancel(r.Context())
	for {
		kind, message, err := c.Read(ctx)
		if err != nil {
			return
		}
		if c.Write(ctx, kind, message) != nil {
			return
		}
	}
}
