package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// field is a header field as it goes on the wire: nothing checks or tidies it.
type field = hpack.HeaderField

// fields makes header fields out of pairs of name and value.
func fields(pairs ...string) []field {
	var all []field
	for i := 0; i+1 < len(pairs); i += 2 {
		all = append(all, field{Name: pairs[i], Value: pairs[i+1]})
	}
	return all
}

// h2conn is a connection of HTTP/2 that sends what it is told to, proper or not: net/http's client would
// tidy up just what a case is about. It belongs to one goroutine.
type h2conn struct {
	conn    *tls.Conn
	framer  *http2.Framer
	encoder *hpack.Encoder
	block   bytes.Buffer
	next    uint32 // the next stream's number
	window  int64  // what the gateway takes on this connection, all streams together
	initial int64  // and on a new stream
	streams map[uint32]*h2stream
	// settings are those the gateway announced.
	settings map[http2.SettingID]uint32
	// over is why the connection is of no use any more.
	over error
}

// h2stream is one request and what comes back for it.
type h2stream struct {
	c      *h2conn
	id     uint32
	window int64
	hints  []*http.Response // informational answers
	resp   *http.Response   // nil until the final header has come
	body   bytes.Buffer
	// over is nil while the stream is open, io.EOF when the answer is complete, else how it was cut.
	over error
}

// dialH2 opens a connection to a gateway that answers https.
func dialH2(t *testing.T, g *gateway) *h2conn {
	t.Helper()
	conn, err := tls.Dial("tcp", g.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if got := conn.ConnectionState().NegotiatedProtocol; got != "h2" {
		t.Fatalf("the gateway speaks %q, want h2", got)
	}
	c := &h2conn{conn: conn, framer: http2.NewFramer(conn, conn), next: 1, window: 65535, initial: 65535,
		streams: make(map[uint32]*h2stream), settings: make(map[http2.SettingID]uint32)}
	c.framer.AllowIllegalWrites = true
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	c.try(func() error { _, err := io.WriteString(conn, http2.ClientPreface); return err })
	const plenty = 1 << 30 // so that the gateway never waits for this side
	c.try(func() error {
		return c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: plenty})
	})
	c.try(func() error { return c.framer.WriteWindowUpdate(0, plenty) })
	for len(c.settings) == 0 && c.over == nil {
		c.pump()
	}
	if c.over != nil {
		t.Fatal(c.over)
	}
	return c
}

// try writes, unless the connection is over.
func (c *h2conn) try(write func() error) {
	if c.over == nil {
		c.end(write())
	}
}

// end notes why the connection is over, and with it all its streams.
func (c *h2conn) end(err error) {
	if err == nil || c.over != nil {
		return
	}
	c.over = err
	for _, s := range c.streams {
		s.end(fmt.Errorf("the connection is over: %w", err))
	}
}

func (s *h2stream) end(err error) {
	if s.over == nil {
		s.over = err
	}
}

// open sends a request's header. end says that nothing follows.
func (c *h2conn) open(end bool, header ...field) *h2stream {
	s := &h2stream{c: c, id: c.next, window: c.initial}
	c.next += 2
	c.streams[s.id] = s
	if c.over != nil {
		s.end(c.over)
	}
	s.header(end, header...)
	return s
}

// header sends a block of header fields, in as many frames as it needs.
func (s *h2stream) header(end bool, header ...field) {
	const frame = 16 << 10
	c := s.c
	c.block.Reset()
	for _, f := range header {
		_ = c.encoder.WriteField(f)
	}
	block := c.block.Bytes()
	first := block[:min(len(block), frame)]
	block = block[len(first):]
	c.try(func() error {
		return c.framer.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: first, EndStream: end, EndHeaders: len(block) == 0})
	})
	for len(block) > 0 {
		piece := block[:min(len(block), frame)]
		block = block[len(piece):]
		c.try(func() error { return c.framer.WriteContinuation(s.id, len(block) == 0, piece) })
	}
}

// data sends a piece of the body, as fast as the gateway takes it. What the gateway does not want any more is not sent.
func (s *h2stream) data(end bool, body string) {
	c := s.c
	for {
		for c.over == nil && s.over == nil && body != "" && min(c.window, s.window) <= 0 {
			c.pump()
		}
		if c.over != nil || s.over != nil {
			return
		}
		n := int(min(int64(len(body)), 16<<10, max(0, c.window), max(0, s.window)))
		piece := body[:n]
		body = body[n:]
		c.window, s.window = c.window-int64(n), s.window-int64(n)
		c.try(func() error { return c.framer.WriteData(s.id, end && body == "", []byte(piece)) })
		if body == "" {
			return
		}
	}
}

// reset takes the request back.
func (s *h2stream) reset() {
	s.c.try(func() error { return s.c.framer.WriteRSTStream(s.id, http2.ErrCodeCancel) })
	delete(s.c.streams, s.id)
}

// pump takes in one frame.
func (c *h2conn) pump() {
	f, err := c.framer.ReadFrame()
	if err != nil {
		var bad http2.StreamError
		if errors.As(err, &bad) && c.streams[bad.StreamID] != nil {
			c.streams[bad.StreamID].end(err)
			return
		}
		c.end(err)
		return
	}
	s := c.streams[f.Header().StreamID]
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if f.IsAck() {
			return
		}
		_ = f.ForeachSetting(func(one http2.Setting) error {
			c.settings[one.ID] = one.Val
			if one.ID == http2.SettingInitialWindowSize {
				c.initial = int64(one.Val)
			}
			return nil
		})
		c.try(c.framer.WriteSettingsAck)
	case *http2.PingFrame:
		if !f.IsAck() {
			c.try(func() error { return c.framer.WritePing(true, f.Data) })
		}
	case *http2.WindowUpdateFrame:
		if s != nil {
			s.window += int64(f.Increment)
		} else if f.StreamID == 0 {
			c.window += int64(f.Increment)
		}
	case *http2.GoAwayFrame:
		c.end(fmt.Errorf("GOAWAY %v", f.ErrCode))
	case *http2.RSTStreamFrame:
		if s != nil {
			s.end(fmt.Errorf("RST_STREAM %v", f.ErrCode))
		}
	case *http2.MetaHeadersFrame:
		if s != nil {
			s.take(f)
		}
	case *http2.DataFrame:
		if s == nil {
			return
		}
		s.body.Write(f.Data())
		if f.StreamEnded() {
			s.end(io.EOF)
		}
	}
}

// take takes in an answer's header, an informational one, or its trailers.
func (s *h2stream) take(f *http2.MetaHeadersFrame) {
	header := make(http.Header)
	for _, one := range f.RegularFields() {
		header.Add(one.Name, one.Value)
	}
	switch status, _ := strconv.Atoi(f.PseudoValue("status")); {
	case s.resp != nil:
		s.resp.Trailer = header
	case status >= 100 && status < 200:
		s.hints = append(s.hints, &http.Response{StatusCode: status, Header: header, Body: http.NoBody})
	default:
		s.resp = &http.Response{StatusCode: status, Status: fmt.Sprint(status, " ", http.StatusText(status)), Proto: "HTTP/2.0", ProtoMajor: 2, Header: header, ContentLength: -1}
		if n, err := strconv.ParseInt(header.Get("Content-Length"), 10, 64); err == nil {
			s.resp.ContentLength = n
		}
	}
	if f.StreamEnded() {
		s.end(io.EOF)
	}
}

// begun waits for the answer's header.
func (s *h2stream) begun() *http.Response {
	for s.resp == nil && s.over == nil {
		s.c.pump()
	}
	return s.resp
}

// answer waits for the end of the stream. An answer that never began has status 0, and Status tells how it
// was refused; one that was cut off has a body that ends with an error.
func (s *h2stream) answer() *http.Response {
	for s.over == nil {
		s.c.pump()
	}
	delete(s.c.streams, s.id)
	if s.resp == nil {
		return &http.Response{Status: s.over.Error(), Header: make(http.Header), Body: http.NoBody}
	}
	var body io.Reader = &s.body
	if s.over != io.EOF {
		body = io.MultiReader(body, &failing{s.over})
	}
	s.resp.Body = io.NopCloser(body)
	return s.resp
}

// failing ends what is read with an error.
type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// h2Header is a request's header as HTTP/2 has it. Host becomes :authority, and what belongs to a connection
// of HTTP/1.1 is left out.
func h2Header(method, target, host string, lines []string) []field {
	header := fields(":method", method, ":scheme", "https", ":authority", host, ":path", target)
	if method == http.MethodConnect && !strings.HasPrefix(target, "/") {
		header = fields(":method", method, ":authority", target) // RFC 9113, 8.5
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ":")
		if name = strings.ToLower(name); name == "connection" || name == "transfer-encoding" {
			continue
		}
		header = append(header, field{Name: name, Value: strings.Trim(value, " \t")})
	}
	return header
}
