package soak

import (
	"bufio"
	"context"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// stream opens one in the background, with the session the visitor has now, and looks at whom it is. It ends
// after a while, or when the session does.
func (c *crowd) stream(ctx context.Context, v *visitor, g *gateway, kind func(*crowd, context.Context, *gateway, visitor) int) {
	select {
	case c.streams <- struct{}{}:
	default:
		return // enough are open
	}
	c.open.Go(func() {
		defer func() { <-c.streams }()
		ctx, cancel := context.WithTimeout(ctx, time.Second+rand.N(20*time.Second))
		defer cancel()
		if kind(c, ctx, g, *v) > 0 {
			c.counts.add(streamed)
		}
	})
}

// webSocket asks again and again whom the application sees, and gives how often it was told.
func webSocket(c *crowd, ctx context.Context, g *gateway, v visitor) (told int) {
	header := http.Header{"Cookie": {"gatehouse=" + v.token}, "Origin": {g.url}}
	conn, _, err := websocket.Dial(ctx, strings.Replace(g.url, "http", "ws", 1)+"/ws", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		return 0
	}
	defer conn.CloseNow()
	for {
		if conn.Write(ctx, websocket.MessageText, []byte("who")) != nil {
			return told
		}
		_, who, err := conn.Read(ctx)
		if err != nil {
			return told
		}
		c.saw(v.user, string(who), "a WebSocket")
		told++
		pause(ctx, 200*time.Millisecond)
	}
}

// events reads whom the application sees, and gives how often it was told.
func events(c *crowd, ctx context.Context, g *gateway, v visitor) (told int) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/events", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Cookie", "gatehouse="+v.token)
	resp, err := (&http.Client{Transport: c.client.Transport, CheckRedirect: c.client.CheckRedirect}).Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0
	}
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if who, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			c.saw(v.user, who, "an event")
			told++
		}
	}
	return told
}
