package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
)

// TestGRPC drives calls of every kind with gRPC's own library, through the TLS listener to an application that is
// asked by HTTP/2 without and with TLS.
func TestGRPC(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"h2c", "h2"} {
		t.Run(scheme, func(t *testing.T) {
			t.Parallel()
			a := startRPC(t, scheme)
			l := startRPCLab(t, a, rpcConfig(t, a, embeddedRedis))
			t.Run("unary and metadata", func(t *testing.T) { grpcUnary(t, l) })
			t.Run("status and details", func(t *testing.T) { grpcStatus(t, l) })
			t.Run("server streaming", func(t *testing.T) { grpcServerStreaming(t, l) })
			t.Run("client streaming", func(t *testing.T) { grpcClientStreaming(t, l) })
			t.Run("both ways", func(t *testing.T) { grpcBothWays(t, l) })
			t.Run("deadline and cancel", func(t *testing.T) { grpcDeadline(t, l) })
			t.Run("the gateway's own answers", func(t *testing.T) { grpcRefusals(t, l) })
		})
	}
}

func grpcUnary(t *testing.T, l *rpcLab) {
	const size = 3 << 20 // gRPC's own limit is 4 MiB
	var header, trailer metadata.MD
	ctx := l.ctx(t, "x-user-id", "1", "x-user-role", "admin", "x_user_id", "1", "x-forwarded-for", "1.2.3.4", "token-bin", "\x00\xfe", "two", "a", "two", "b")
	got, err := l.client.UnaryCall(ctx, &pb.SimpleRequest{ResponseSize: size, Payload: payload(size)}, grpc.Header(&header), grpc.Trailer(&trailer))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Payload.Body) != size || got.Username != fmt.Sprint(size) {
		t.Errorf("%d bytes came back, %s arrived", len(got.Payload.Body), got.Username)
	}
	md := l.app.last(t)
	for name, want := range map[string]string{
		"x-user-id": "2", "x-user-email": userEmail, "x-user-role": "user", "x_user_id": "", "x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "https",
		"token-bin": "\x00\xfe", "two": "a b", "cookie": "other=1", ":authority": l.addr, "x-forwarded-host": l.addr,
	} {
		if got := strings.Join(md[name], " "); got != want {
			t.Errorf("the application got %s %q, want %q", name, got, want)
		}
	}
	for name, want := range map[string]string{"app-header": "h", "x-user-email": ""} {
		if got := strings.Join(header[name], " "); got != want {
			t.Errorf("the header's %s is %q, want %q", name, got, want)
		}
	}
	checkTrailer(t, trailer)
	l.logged(t, map[string]any{"type": "access", "path": grpcPath + "/UnaryCall", "status": 200, "grpc_status": 0, "user": 2})
}

// checkTrailer: what the application may say after the body comes, what it may not does not (H08).
func checkTrailer(t *testing.T, trailer metadata.MD) {
	t.Helper()
	for name, want := range map[string]string{"app-trailer-bin": "\x00\xff", "x-user-id": "", "x_user_id": "", "set-cookie": ""} {
		if got := strings.Join(trailer[name], " "); got != want {
			t.Errorf("the trailer's %s is %q, want %q", name, got, want)
		}
	}
}

// grpcStatus: as a "Trailers-Only" answer, and after messages.
func grpcStatus(t *testing.T, l *rpcLab) {
	check := func(what string, err error, trailer metadata.MD) {
		t.Helper()
		st := grpcstatus.Convert(err)
		if st.Code() != codes.FailedPrecondition || st.Message() != "nein: 100 % ☂" || len(st.Details()) != 1 {
			t.Fatalf("%s: %v with details %v", what, err, st.Details())
		}
		if d, ok := st.Details()[0].(*pb.EchoStatus); !ok || d.Code != 7 || d.Message != "detail" {
			t.Errorf("%s: details %v", what, st.Details())
		}
		checkTrailer(t, trailer)
	}
	var trailer metadata.MD
	_, err := l.client.UnaryCall(l.ctx(t, "do", "fail"), &pb.SimpleRequest{}, grpc.Trailer(&trailer))
	check("unary", err, trailer)
	l.logged(t, map[string]any{"type": "access", "path": grpcPath + "/UnaryCall", "status": 200, "grpc_status": 9})
	s, err := l.client.FullDuplexCall(l.ctx(t, "do", "fail"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	check("stream", err, s.Trailer())
}

func grpcServerStreaming(t *testing.T, l *rpcLab) {
	var want []*pb.ResponseParameters
	for i := range 20 {
		want = append(want, &pb.ResponseParameters{Size: int32(i * 1000)})
	}
	s, err := l.client.StreamingOutputCall(l.ctx(t), &pb.StreamingOutputCallRequest{ResponseParameters: want})
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range want {
		got, err := s.Recv()
		if err != nil || len(got.Payload.Body) != int(p.Size) {
			t.Fatalf("message %d: %d bytes, %v", i, len(got.GetPayload().GetBody()), err)
		}
	}
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
}

func grpcClientStreaming(t *testing.T, l *rpcLab) {
	s, err := l.client.StreamingInputCall(l.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if err := s.Send(&pb.StreamingInputCallRequest{Payload: payload(5000)}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := s.CloseAndRecv(); err != nil || got.AggregatedPayloadSize != 100_000 {
		t.Errorf("%v, %v", got, err)
	}
}

// grpcBothWays: the header comes before the client has said anything, and each message before the next one is sent.
func grpcBothWays(t *testing.T, l *rpcLab) {
	s, err := l.client.FullDuplexCall(l.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if md, err := s.Header(); err != nil || strings.Join(md["app-header"], "") != "h" {
		t.Fatalf("the header before any message: %v, %v", md, err)
	}
	for i := range 50 {
		if err := s.Send(&pb.StreamingOutputCallRequest{Payload: payload(i)}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Recv(); err != nil || len(got.Payload.GetBody()) != i {
			t.Fatalf("message %d: %v, %v", i, got, err)
		}
	}
	if got := l.metric(t, `gatehouse_open_streams{kind="grpc"}`); got != "1" {
		t.Errorf("open calls in the metric: %s", got)
	}
	_ = s.CloseSend()
	if _, err := s.Recv(); err != io.EOF {
		t.Errorf("the end: %v", err)
	}
	checkTrailer(t, s.Trailer())
	eventually(t, "the metric to say that no call is open", func() bool { return l.metric(t, `gatehouse_open_streams{kind="grpc"}`) == "0" })
}

// grpcDeadline: the application learns of the deadline, and sees when the client gives a call up.
func grpcDeadline(t *testing.T, l *rpcLab) {
	ctx, cancel := context.WithTimeout(l.ctx(t, "do", "hang"), 200*time.Millisecond)
	defer cancel()
	_, err := l.client.UnaryCall(ctx, &pb.SimpleRequest{})
	wantCode(t, "deadline", err, codes.DeadlineExceeded)
	if err := l.app.left(t); err == nil {
		t.Error("the application was not told of the deadline")
	}
	ctx, cancel = context.WithCancel(l.ctx(t))
	s, err := l.client.FullDuplexCall(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	cancel()
	_, err = s.Recv()
	wantCode(t, "cancelled", err, codes.Canceled)
	if err := l.app.left(t); err != context.Canceled {
		t.Errorf("the application saw %v", err)
	}
}

// grpcRefusals: what the gateway says itself is said in gRPC's words, and the log says it in HTTP's.
func grpcRefusals(t *testing.T, l *rpcLab) {
	before := l.app.count()
	_, err := l.client.UnaryCall(rpcContext(t, "", "accept", "text/html"), &pb.SimpleRequest{})
	wantCode(t, "nobody", err, codes.Unauthenticated)
	l.logged(t, map[string]any{"type": "access", "path": grpcPath + "/UnaryCall", "status": 401, "grpc_status": 16})
	_, err = l.client.CacheableUnaryCall(rpcContext(t, ""), &pb.SimpleRequest{})
	wantCode(t, "nobody, where people are sent to the login page", err, codes.Unauthenticated)
	s, err := l.client.FullDuplexCall(rpcContext(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Recv()
	wantCode(t, "nobody's stream", err, codes.Unauthenticated)
	_, err = l.client.EmptyCall(l.ctx(t), &pb.Empty{})
	wantCode(t, "another role", err, codes.PermissionDenied)
	if n := l.app.count() - before; n != 0 {
		t.Errorf("%d refused calls reached the application", n)
	}
	_, err = l.client.UnimplementedCall(l.ctx(t), &pb.Empty{})
	wantCode(t, "the application is down", err, codes.Unavailable)
	l.logged(t, map[string]any{"type": "access", "status": 502, "grpc_status": 14})
	if got := l.metric(t, `gatehouse_requests_total{rule="`+grpcPath+`",status="4xx"}`); got == "0" {
		t.Error("the metric of requests does not count refused calls as such")
	}
}

// TestGRPCEndsWithTheSession: logging out on either replica ends running calls, also those whose application has
// not answered yet, and says why (X04).
func TestGRPCEndsWithTheSession(t *testing.T) {
	t.Parallel()
	sp := ownSpace(t)
	a := startRPC(t, "h2c")
	cfg := rpcConfig(t, a, sp.section()) + "outage: {serve_known_for: 0s}\n"
	here, there := startRPCLab(t, a, cfg), startRPCLab(t, a, cfg)
	for _, at := range []*rpcLab{here, there} {
		token := tlsLogin(t, here.gateway)
		both, err := here.client.FullDuplexCall(rpcContext(t, token))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := both.Header(); err != nil {
			t.Fatal(err)
		}
		upload, err := here.client.StreamingInputCall(rpcContext(t, token))
		if err != nil {
			t.Fatal(err)
		}
		unread, err := here.client.StreamingOutputCall(rpcContext(t, token), &pb.StreamingOutputCallRequest{
			ResponseParameters: []*pb.ResponseParameters{{Size: 1 << 20}, {Size: 1 << 20}, {Size: 1 << 20}, {Size: 1 << 20}, {Size: 1 << 20}}})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "the calls to be open", func() bool { return here.metric(t, `gatehouse_open_streams{kind="grpc"}`) == "3" })
		b := tlsBrowser(t, at.gateway)
		b.headers.Set("Cookie", "gatehouse="+token)
		if got := b.post("/logout", nil); got.StatusCode != http.StatusSeeOther {
			t.Fatalf("logout: %s", got.Status)
		}
		_, err = both.Recv()
		wantCode(t, "both ways", err, codes.Unauthenticated)
		err = upload.RecvMsg(new(pb.StreamingInputCallResponse)) // its client goes on sending
		wantCode(t, "an upload", err, codes.Unauthenticated)
		eventually(t, "no call to be open, whether or not its client reads", func() bool { return here.metric(t, `gatehouse_open_streams{kind="grpc"}`) == "0" })
		for err = nil; err == nil; _, err = unread.Recv() {
		}
		if err == io.EOF {
			t.Error("a call that was cut off ended as if complete")
		}
		here.logged(t, map[string]any{"type": "access", "error": "session ended", "grpc_status": 16})
	}
	// While Redis is away, nobody is told that the session is over.
	sp.server.Kill()
	_, err := there.client.UnaryCall(rpcContext(t, there.token), &pb.SimpleRequest{})
	wantCode(t, "Redis is away", err, codes.Unavailable)
	l := there.logged(t, map[string]any{"type": "access", "status": 503, "grpc_status": 14})
	if l["error"] == nil {
		t.Errorf("the log does not say why: %v", l)
	}
}

// TestGRPCQuietStreams: timeouts cut no call in which nobody speaks for longer. Nothing else is exempt: TestBodiesThatStandStill.
func TestGRPCQuietStreams(t *testing.T) {
	t.Parallel()
	const bound, pause = 300 * time.Millisecond, time.Second
	a := startRPC(t, "h2c")
	l := startRPCLab(t, a, rpcConfig(t, a, embeddedRedis)+fmt.Sprintf("timeouts: {body: %v, response_header: %[1]v, idle: %[1]v}\n", bound))
	both, err := l.client.FullDuplexCall(l.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	upload, err := l.client.StreamingInputCall(l.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := upload.Send(&pb.StreamingInputCallRequest{Payload: payload(5)}); err != nil {
		t.Fatal(err)
	}
	late, err := l.client.StreamingOutputCall(l.ctx(t), &pb.StreamingOutputCallRequest{ResponseParameters: []*pb.ResponseParameters{{Size: 1, IntervalUs: int32(pause / time.Microsecond)}}})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(pause)
	if err := both.Send(&pb.StreamingOutputCallRequest{Payload: payload(3)}); err != nil {
		t.Fatal(err)
	}
	if got, err := both.Recv(); err != nil || len(got.Payload.Body) != 3 {
		t.Errorf("both ways, after a pause: %v, %v", got, err)
	}
	if err := upload.Send(&pb.StreamingInputCallRequest{Payload: payload(6)}); err != nil {
		t.Error(err)
	}
	if got, err := upload.CloseAndRecv(); err != nil || got.AggregatedPayloadSize != 11 {
		t.Errorf("an upload, after a pause: %v, %v", got, err)
	}
	if got, err := late.Recv(); err != nil || len(got.Payload.Body) != 1 {
		t.Errorf("a first message that is long in coming: %v, %v", got, err)
	}
}

// TestGRPCLimits: more streams at once than the application allows on one connection, and more bytes in a
// call than the gateway does.
func TestGRPCLimits(t *testing.T) {
	t.Parallel()
	a := startRPC(t, "h2c", grpc.MaxConcurrentStreams(5))
	l := startRPCLab(t, a, rpcConfig(t, a, embeddedRedis)+"limits: {max_body: 100KB}\n")
	var open []grpc.BidiStreamingClient[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]
	for range 20 {
		s, err := l.client.FullDuplexCall(l.ctx(t))
		if err != nil {
			t.Fatal(err)
		}
		// One after the other: a connection over which the application has said nothing yet is taken to allow 100.
		if _, err := s.Header(); err != nil {
			t.Fatal(err)
		}
		open = append(open, s)
	}
	for i, s := range open {
		if err := s.Send(&pb.StreamingOutputCallRequest{Payload: payload(i)}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Recv(); err != nil || len(got.Payload.GetBody()) != i {
			t.Fatalf("stream %d of 20, at an application that allows 5 on a connection: %v, %v", i, got, err)
		}
	}
	_, err := l.client.UnaryCall(l.ctx(t), &pb.SimpleRequest{Payload: payload(200_000)})
	wantCode(t, "a message over max_body", err, codes.ResourceExhausted)
	for err = nil; err == nil; _, err = open[0].Recv() { // each is waited for, so that none is cut off in the middle
		_ = open[0].Send(&pb.StreamingOutputCallRequest{Payload: payload(30_000)})
	}
	wantCode(t, "messages over max_body", err, codes.ResourceExhausted)
}

// TestGRPCAppDies: a call whose application dies ends with a status, and none that says success (X05).
func TestGRPCAppDies(t *testing.T) {
	t.Parallel()
	a := startRPC(t, "h2c")
	l := startRPCLab(t, a, rpcConfig(t, a, embeddedRedis))
	s, err := l.client.FullDuplexCall(l.ctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Header(); err != nil {
		t.Fatal(err)
	}
	a.stop()
	_, err = s.Recv()
	wantCode(t, "the application died", err, codes.Unavailable)
	l.logged(t, map[string]any{"type": "access", "status": 502, "grpc_status": 14})
}
