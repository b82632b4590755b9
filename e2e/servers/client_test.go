//go:build apps

package servers

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// patience bounds the wait for an answer.
const patience = 20 * time.Second

// client sends paths and headers as they are, which net/http would tidy up or refuse, over a connection that is
// kept as long as the server keeps it.
type client struct {
	addr string
	// fresh: a connection for each request.
	fresh bool
	conn  net.Conn
	in    *bufio.Reader
	seen  bytes.Buffer // what came in since the request went out
}

func newClient(addr string) *client { return &client{addr: addr} }

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// answer is what came back. status is 0 when it is no HTTP, or nothing.
type answer struct {
	status int
	// raw is all of it, byte for byte: a marker is found wherever it stands.
	raw string
}

// get sends a request with these header lines, each with its end.
func (c *client) get(target, lines string) answer {
	for {
		kept := c.conn != nil
		got, err := c.exchange("GET " + target + " HTTP/1.1\r\nHost: " + c.addr + "\r\n" + lines + "\r\n")
		// After a request of two lines nobody knows what is whose answer.
		if err != nil || got.status == 0 || c.fresh || strings.ContainsAny(target+strings.ReplaceAll(lines, "\r\n", ""), "\r\n\x00") {
			c.close()
		}
		if err != nil && kept && got.raw == "" {
			continue // the server had ended the connection
		}
		return got
	}
}

func (c *client) exchange(request string) (answer, error) {
	if c.conn == nil {
		conn, err := net.Dial("tcp", c.addr)
		if err != nil {
			return answer{}, err
		}
		c.conn, c.in = conn, bufio.NewReader(io.TeeReader(conn, &c.seen))
	}
	c.seen.Reset()
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(c.conn, request); err != nil {
		return answer{}, err
	}
	resp, err := http.ReadResponse(c.in, &http.Request{Method: http.MethodGet})
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
	} else {
		_ = c.conn.SetDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c.in) // HTTP/0.9 has no head
	}
	got := answer{raw: c.seen.String()}
	if resp != nil {
		if got.status = resp.StatusCode; resp.Close {
			c.close()
		}
	}
	return got, err
}
