package e2e

import (
	"bufio"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// framingCases: where a request ends (security case group X).
var framingCases = []securityCase{
	{"X01_where_a_request_ends", both, func(t *testing.T, s *setup) {
		if s.h2() {
			framesOfABody(t, s)
			return
		}
		smuggling(t, s)
	}},
}

// smuggled is what every request of this case has behind it: a second request, if the gateway and the application do
// not agree where the first one ends.
const smuggled = "GET /account/smuggled HTTP/1.1\r\nHost: x\r\nX-User-Id: 1\r\nConnection: close\r\n\r\n"

type framingRow struct {
	name, head, body string
	// want is the status; what is accepted is sent on with this body.
	want int
	sent string
}

// framings are requests in which two servers may see different ends (RFC 9112, 6 and 11.2).
var framings = []framingRow{
	// Both lengths: chunked counts, and nothing of the other is left.
	{"CL and TE", "Content-Length: 5\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"TE and CL", "Transfer-Encoding: chunked\r\nContent-Length: 4", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"CL of all and TE", "Content-Length: 200\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 200, ""},
	{"differing CLs", "Content-Length: 5\r\nContent-Length: 6", "hello", 400, ""},
	{"differing CLs, the other way", "Content-Length: 6\r\nContent-Length: 5", "hello", 400, ""},
	{"the same CL twice", "Content-Length: 5\r\nContent-Length: 5", "hello", 200, "hello"},
	{"CL list", "Content-Length: 5, 5", "hello", 400, ""},
	{"CL list of two", "Content-Length: 5, 6", "hello", 400, ""},
	{"CL +5", "Content-Length: +5", "hello", 400, ""},
	{"CL -5", "Content-Length: -5", "hello", 400, ""},
	{"CL after blanks", "Content-Length:   5 ", "hello", 200, "hello"},
	{"CL after a tab", "Content-Length:\t5", "hello", 200, "hello"},
	{"CL 0x5", "Content-Length: 0x5", "hello", 400, ""},
	{"CL 5 6", "Content-Length: 5 6", "hello", 400, ""},
	{"CL 5.0", "Content-Length: 5.0", "hello", 400, ""},
	{"CL 1e1", "Content-Length: 1e1", "hello", 400, ""},
	{"CL empty", "Content-Length: ", "hello", 400, ""},
	{"CL overflow", "Content-Length: 18446744073709551621", "hello", 400, ""},
	{"CL folded", "Content-Length: 5\r\n 6", "hello", 400, ""},
	{"CL with a space before the colon", "Content-Length : 5", "hello", 400, ""},
	{"CL by another spelling", "Content_Length: 5\r\nContent-Length: 0", "", 200, ""},

	{"TE twice", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", "0\r\n\r\n", 501, ""},
	{"TE chunked, then identity", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity", "0\r\n\r\n", 501, ""},
	{"TE chunked, identity", "Transfer-Encoding: chunked, identity", "0\r\n\r\n", 501, ""},
	{"TE chunked, chunked", "Transfer-Encoding: chunked, chunked", "0\r\n\r\n", 501, ""},
	{"TE identity", "Transfer-Encoding: identity\r\nContent-Length: 5", "hello", 501, ""},
	{"TE gzip, chunked", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", 501, ""},
	{"TE xchunked", "Transfer-Encoding: xchunked\r\nContent-Length: 5", "hello", 501, ""},
	{"TE chunked;q=1", "Transfer-Encoding: chunked;q=1\r\nContent-Length: 5", "hello", 501, ""},
	{"TE in quotes", "Transfer-Encoding: \"chunked\"\r\nContent-Length: 5", "hello", 501, ""},
	{"TE empty", "Transfer-Encoding:\r\nContent-Length: 5", "hello", 501, ""},
	{"TE with a comma", "Transfer-Encoding: ,chunked\r\nContent-Length: 5", "hello", 501, ""},
	{"TE in capitals", "Transfer-Encoding: CHUNKED", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"TE after a tab", "Transfer-Encoding:\tchunked", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"TE after a vertical tab", "Transfer-Encoding: \vchunked\r\nContent-Length: 5", "hello", 400, ""},
	{"TE folded", "Transfer-Encoding:\r\n chunked\r\nContent-Length: 5", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"TE folded into another", "X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 5", "hello", 200, "hello"},
	{"TE with a space before the colon", "Transfer-Encoding : chunked\r\nContent-Length: 5", "hello", 400, ""},
	{"TE with NUL", "Transfer-Encoding: chunked\x00\r\nContent-Length: 5", "hello", 400, ""},
	{"TE behind a bare CR", "X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 5", "hello", 400, ""},
	{"TE behind a bare LF", "X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: 5", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"TE by another spelling", "Transfer_Encoding: chunked\r\nContent-Length: 5", "hello", 200, "hello"},
	{"TE named in Connection", "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n", 200, "hello"},
	{"CL named in Connection", "Connection: Content-Length\r\nContent-Length: 5", "hello", 200, "hello"},

	{"chunk size overflow", "Transfer-Encoding: chunked", "10000000000000005\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size of 17 digits", "Transfer-Encoding: chunked", "fffffffffffffffff\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size 0x5", "Transfer-Encoding: chunked", "0x5\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size +5", "Transfer-Encoding: chunked", "+5\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size -1", "Transfer-Encoding: chunked", "-1\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size empty", "Transfer-Encoding: chunked", "\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size after a blank", "Transfer-Encoding: chunked", " 5\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"chunk size of underscores", "Transfer-Encoding: chunked", "1_0\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"no CRLF after a chunk", "Transfer-Encoding: chunked", "5\r\nhello0\r\n\r\n", 400, ""},
	{"more than the chunk's size", "Transfer-Encoding: chunked", "5\r\nhellooo\r\n0\r\n\r\n", 400, ""},
	{"LF alone after a chunk", "Transfer-Encoding: chunked", "5\r\nhello\n0\r\n\r\n", 400, ""},
	{"LF alone after a chunk's size", "Transfer-Encoding: chunked", "5\nhello\r\n0\r\n\r\n", 400, ""},
	{"LF alone in an extension", "Transfer-Encoding: chunked", "5;a\nhello\r\n0\r\n\r\n", 400, ""},
	{"CR alone in an extension", "Transfer-Encoding: chunked", "5;a\rb\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"extension", "Transfer-Encoding: chunked", "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n", 200, "hello"},
	{"long extension", "Transfer-Encoding: chunked", "5;" + strings.Repeat("a", 8<<10) + "\r\nhello\r\n0\r\n\r\n", 400, ""},
	{"leading zeros", "Transfer-Encoding: chunked", "0005\r\nhello\r\n000\r\n\r\n", 200, "hello"},
	{"odd trailer", "Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\nX-A : b\r\n\r\n", 200, "hello"},

	// What is in a body is no request, whatever it looks like.
	{"a request as the body", lengthOf(smuggled), smuggled, 200, smuggled},
}

// smuggling (X01 over HTTP/1.1) sends each row with another request behind it.
func smuggling(t *testing.T, s *setup) {
	a := startTap(t)
	g := s.start(t, baseConfig(a.url, s.section())+"timeouts: {body: 2s, idle: 2s}\n", withUsers())
	for _, row := range framings {
		for _, method := range []string{"POST", "GET"} {
			statuses := everyAnswer(t, g, method+" /public/ HTTP/1.1\r\nHost: x\r\n"+row.head+"\r\n\r\n"+row.body+smuggled)
			what := method + " with " + row.name
			if len(statuses) == 0 || statuses[0] != row.want && !(row.want >= 400 && (statuses[0] == 400 || statuses[0] == 501)) {
				t.Errorf("%s: %v, want %d first", what, statuses, row.want)
			}
			// The second request is judged by itself (303: nobody is logged in), or is not read any more.
			for _, status := range statuses[min(1, len(statuses)):] {
				if status != 303 && status != 400 {
					t.Errorf("%s: what came behind it was answered %v", what, statuses[1:])
				}
			}
			judgeForwarded(t, what, row, a.take())
		}
	}
	// Pipelined requests are many requests.
	statuses := everyAnswer(t, g, "POST /public/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"+strings.Replace(smuggled, "Connection: close\r\n", "", 1)+"GET /public/ HTTP/1.1\r\nHost: x\r\n\r\nGET /admin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
	if len(statuses) != 4 || statuses[0] != 200 || statuses[1] != 303 || statuses[2] != 200 || statuses[3] != 303 || len(a.take()) != 2 {
		t.Errorf("four requests in a row: %v", statuses)
	}
	// HTTP/1.0 knows no chunks: what comes behind is not sent on, and no second request.
	for _, head := range []string{"Transfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nConnection: keep-alive", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\nConnection: keep-alive"} {
		statuses := everyAnswer(t, g, "POST /public/ HTTP/1.0\r\nHost: x\r\n"+head+"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"+smuggled)
		for _, text := range a.take() {
			if lower := strings.ToLower(text); strings.Contains(lower, "transfer-encoding") || strings.Contains(lower, "smuggled") {
				t.Errorf("HTTP/1.0 with %q: the app got %q", head, text)
			}
		}
		for _, status := range statuses[min(1, len(statuses)):] {
			if status != 400 && status != 303 {
				t.Errorf("HTTP/1.0 with %q: %v", head, statuses)
			}
		}
	}
}

func lengthOf(body string) string { return "Content-Length: " + strconv.Itoa(len(body)) }

// judgeForwarded: what reached the application has one end, and is nothing but the first request.
func judgeForwarded(t *testing.T, what string, row framingRow, got []string) {
	t.Helper()
	complete := 0
	for _, text := range got {
		head, body, _ := strings.Cut(text, "\r\n\r\n")
		if strings.Contains(text, "(cut off: ") {
			continue // the application knows that it has not got everything
		}
		complete++
		head = strings.ToLower(head + "\r\n")
		cl, te := strings.Count(head, "\r\ncontent-length:"), strings.Count(head, "\r\ntransfer-encoding: chunked\r\n")
		if cl > 1 || strings.Count(head, "\r\ntransfer-encoding") != te || cl+te > 1 || strings.Contains(head, "_encoding") || strings.Contains(head, "_length") {
			t.Errorf("%s: the app got %q", what, text)
		}
		want := row.sent
		if te > 0 {
			want = chunk(row.sent) + "0\r\n\r\n"
		}
		if body != want || strings.Contains(head, "smuggled") {
			t.Errorf("%s: the app got the body %q, want %q", what, body, want)
		}
	}
	if complete > 1 || (complete == 1) != (row.want == 200) {
		t.Errorf("%s: %d complete requests reached the app: %q", what, complete, got)
	}
}

// everyAnswer sends text and gives the statuses of all answers until the gateway closes the connection.
func everyAnswer(t *testing.T, g *gateway, text string) (statuses []int) {
	t.Helper()
	conn := dial(t, g)
	defer conn.Close()
	go func() { _, _ = io.WriteString(conn, text) }()
	src := bufio.NewReader(conn)
	for {
		resp, err := http.ReadResponse(src, nil)
		if err != nil {
			return statuses
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		statuses = append(statuses, resp.StatusCode)
	}
}

// framesOfABody (X01 over HTTP/2): the frames say where a body ends, and content-length must agree (RFC 9113, 8.1.1).
func framesOfABody(t *testing.T, s *setup) {
	a := startTap(t)
	g := s.start(t, baseConfig(a.url, s.section()), withUsers())
	for _, c := range []struct {
		name    string
		headers []string
		body    string
		want    int
	}{
		{"as it says", []string{"Content-Length: 5"}, "hello", 200},
		{"nothing said", nil, "hello", 200},
		{"longer", []string{"Content-Length: 3"}, "hello" + smuggled, 0},
		{"shorter", []string{"Content-Length: 100"}, "hello", 0},
		{"two lengths", []string{"Content-Length: 5", "Content-Length: 6"}, "hello", 0},
		{"the same twice", []string{"Content-Length: 5", "Content-Length: 5"}, "hello", 0},
		{"empty", []string{"Content-Length: "}, "hello", 0},
		{"overflow", []string{"Content-Length: 18446744073709551621"}, "hello", 0},
		{"a list", []string{"Content-Length: 5, 5"}, "hello", 0},
		{"+5", []string{"Content-Length: +5"}, "hello", 0},
		{"-1", []string{"Content-Length: -1"}, "hello", 0},
		{"chunks in it", nil, "0\r\n\r\n" + smuggled, 200},
	} {
		stream := dialH2(t, g).open(false, h2Header("POST", "/public/", g.addr, c.headers)...)
		stream.data(true, c.body)
		got := stream.answer()
		stream.c.conn.Close()
		if c.want == 200 && got.StatusCode != 200 || c.want != 200 && !refusedWith(got, 400) {
			t.Errorf("%s: %s", c.name, got.Status)
		}
		row := framingRow{want: c.want, sent: c.body}
		judgeForwarded(t, c.name, row, a.take())
	}
}
