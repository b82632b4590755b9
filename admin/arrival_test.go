package admin_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/admin"
	"gatehouse/config"
	"gatehouse/session"
)

// hurry is how many times faster than said the deadlines of the connections run out: 30 s are 100 ms.
const hurry = 300

type hurriedListener struct{ net.Listener }

func (l hurriedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return hurriedConn{c}, err
}

type hurriedConn struct{ net.Conn }

func (c hurriedConn) SetReadDeadline(at time.Time) error {
	if left := time.Until(at); left > 0 {
		at = time.Now().Add(left / hurry)
	}
	return c.Conn.SetReadDeadline(at)
}

// lengthy takes longer for everything than a body may take to arrive, unless its context ends.
type lengthy struct{ *fake }

func (l lengthy) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(5 * 30 * time.Second / hurry):
		return nil
	}
}

func (l lengthy) Stats(ctx context.Context, _ func(done, total int64)) (*session.Stats, error) {
	return &session.Stats{PerUser: []session.Range{}}, l.wait(ctx)
}

func (l lengthy) Audit(ctx context.Context, _ bool, _ func(done, total int64)) (*session.AuditReport, error) {
	return &session.AuditReport{Kinds: map[session.Kind]int64{}, Findings: []session.Finding{}}, l.wait(ctx)
}

func (l lengthy) Each(ctx context.Context, _ func(done, total int64), each func(*session.Record, error) error) error {
	for range 2 {
		if err := each(l.record("42"), nil); err != nil {
			return err
		}
		if err := l.wait(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (l lengthy) Change(ctx context.Context, _ string, _ session.Change) (int, error) {
	return 2, l.wait(ctx)
}

func hurried(t *testing.T) string {
	t.Helper()
	l := lengthy{&fake{}}
	handler, err := admin.New(config.Admin{Token: secret}, admin.Deps{
		Sessions: l, Changes: l, Log: zerolog.Nop(), Pages: http.NotFoundHandler(),
	})
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(handler)
	srv.Listener = hurriedListener{srv.Listener}
	srv.Start()
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// head is the beginning of a request whose body has so many bytes.
func head(method, path string, length int, token string) string {
	return fmt.Sprintf("%s /api/v1%s HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n",
		method, path, token, length)
}

// answered reads an answer to its end.
func answered(from *bufio.Reader) (status int, body string, err error) {
	resp, err := http.ReadResponse(from, nil)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	all, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(all), err
}

// What goes through all sessions takes as long as it takes: the bound is the body's, and net/http, which goes on
// reading to notice a client that goes away, must not run into it.
func TestWorkOutlastsTheBodysTime(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/stats", ""}, {"GET", "/audit", ""}, {"POST", "/audit/repair", ""}, {"GET", "/export", ""},
		{"POST", "/audit/repair", "{}"}, {"GET", "/export", "{}"}, {"GET", "/stats", strings.Repeat("x", 300<<10)},
		{"PATCH", "/users/42/sessions", `{"role":"member"}`},
	} {
		t.Run(fmt.Sprint(c.method, c.path, len(c.body)), func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", hurried(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			from := bufio.NewReader(conn)
			for range 2 { // and the connection serves on
				if _, err := io.WriteString(conn, head(c.method, c.path, len(c.body), secret)+c.body); err != nil {
					t.Fatal(err)
				}
				if status, body, err := answered(from); status != 200 || err != nil || strings.Contains(body, "error") {
					t.Fatalf("%d %.200s, %v", status, body, err)
				}
			}
		})
	}
}

// A body that does not come ties up nothing for longer than its time, whoever announces it.
func TestBodyThatDoesNotCome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method, path, token string
		want                int
	}{
		{"PATCH", "/users/42/sessions", secret, 400}, {"GET", "/stats", secret, 400}, {"GET", "/export", secret, 400},
		{"GET", "/nothing", secret, 404}, {"PUT", "/stats", secret, 405}, {"GET", "/stats", "wrong", 401},
	} {
		t.Run(fmt.Sprint(c.method, c.path, c.want), func(t *testing.T) {
			t.Parallel()
			conn, err := net.Dial("tcp", hurried(t))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := io.WriteString(conn, head(c.method, c.path, 20, c.token)+`{"role":`); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
				t.Fatal(err)
			}
			from := bufio.NewReader(conn)
			if status, body, err := answered(from); status != c.want || err != nil {
				t.Errorf("%d %s, %v", status, body, err)
			}
			if _, err := from.ReadByte(); err != io.EOF {
				t.Errorf("the connection is held: %v", err)
			}
		})
	}
}

// Whoever stops waiting stops what was asked for.
func TestScanEndsWithItsClient(t *testing.T) {
	t.Parallel()
	begun, stop, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	f := &fake{}
	l := withFake(t, f, func(s *settings) { s.Sessions = waiting{f, begun, stop, ended} })
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", l.url+"/api/v1/stats", strings.NewReader("a body nobody asked for"))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	go func() {
		<-begun
		cancel()
	}()
	if resp, err := l.client.Do(req); err == nil {
		resp.Body.Close()
		t.Fatalf("answered with %d", resp.StatusCode)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("it ended by itself")
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
		close(stop)
	}
}

// waiting counts until it is told to stop.
type waiting struct {
	*fake
	begun chan struct{}
	stop  chan struct{} // the test has failed and wants to end
	ended chan error
}

func (w waiting) Stats(ctx context.Context, _ func(done, total int64)) (*session.Stats, error) {
	close(w.begun)
	select {
	case <-ctx.Done():
	case <-w.stop:
	}
	w.ended <- ctx.Err()
	return nil, ctx.Err()
}
