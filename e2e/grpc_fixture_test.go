package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	pb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	grpcstatus "google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"

	"gatehouse/internal/testcert"
)

// rpcApp is a gRPC application, with the service that gRPC's own interoperability tests call. What a
// call shall do stands in its metadata (do).
type rpcApp struct {
	pb.UnimplementedTestServiceServer
	url string
	ca  string // file of the certificate, with h2
	// stop ends the application and its connections at once.
	stop func()

	mu    sync.Mutex
	calls []metadata.MD
	// gone gets the error of the context of each call that was told to hang.
	gone chan error
}

// grpcPath is the path prefix of the service.
const grpcPath = "/grpc.testing.TestService"

// startRPC starts a gRPC application. scheme is h2c or h2.
func startRPC(t *testing.T, scheme string, opts ...grpc.ServerOption) *rpcApp {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &rpcApp{url: scheme + "://" + l.Addr().String(), gone: make(chan error, 100)}
	if scheme == "h2" {
		cert, key := testcert.Write(t, t.TempDir())
		creds, err := credentials.NewServerTLSFromFile(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		a.ca = cert
		opts = append(opts, grpc.Creds(creds))
	}
	s := grpc.NewServer(opts...)
	pb.RegisterTestServiceServer(s, a)
	go func() { _ = s.Serve(l) }()
	a.stop = s.Stop
	t.Cleanup(s.Stop)
	return a
}

// arrived notes a call, and does what its metadata says.
func (a *rpcApp) arrived(ctx context.Context) error {
	md, _ := metadata.FromIncomingContext(ctx)
	a.mu.Lock()
	a.calls = append(a.calls, md)
	a.mu.Unlock()
	// Beside what it may say, the application says what it may not.
	_ = grpc.SetTrailer(ctx, metadata.Pairs("app-trailer-bin", "\x00\xff", "x-user-id", "7", "x_user_id", "7"))
	switch strings.Join(md["do"], "") {
	case "hang":
		<-ctx.Done()
		a.gone <- ctx.Err()
		return ctx.Err()
	case "fail":
		st, err := grpcstatus.New(codes.FailedPrecondition, "nein: 100 % ☂").WithDetails(protoadapt.MessageV1Of(&pb.EchoStatus{Code: 7, Message: "detail"}))
		if err != nil {
			return err
		}
		return st.Err()
	}
	_ = grpc.SetTrailer(ctx, metadata.Pairs("set-cookie", "a=b")) // which it may in a header, as those that fail here are
	return nil
}

func (a *rpcApp) last(t *testing.T) metadata.MD {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.calls) == 0 {
		t.Fatal("no call has reached the application")
	}
	return a.calls[len(a.calls)-1]
}

func (a *rpcApp) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.calls)
}

// left waits until the application has seen a call end, and tells how.
func (a *rpcApp) left(t *testing.T) error {
	t.Helper()
	select {
	case err := <-a.gone:
		return err
	case <-time.After(20 * time.Second):
		t.Fatal("the application did not see that the client left")
		return nil
	}
}

// UnaryCall answers with as much as is asked for.
func (a *rpcApp) UnaryCall(ctx context.Context, r *pb.SimpleRequest) (*pb.SimpleResponse, error) {
	if err := a.arrived(ctx); err != nil {
		return nil, err
	}
	_ = grpc.SetHeader(ctx, metadata.Pairs("app-header", "h", "x-user-email", "7"))
	return &pb.SimpleResponse{Payload: &pb.Payload{Body: make([]byte, r.ResponseSize)}, Username: fmt.Sprint(len(r.GetPayload().GetBody()))}, nil
}

// StreamingOutputCall sends as many messages as there are parameters, after their pauses.
func (a *rpcApp) StreamingOutputCall(r *pb.StreamingOutputCallRequest, s grpc.ServerStreamingServer[pb.StreamingOutputCallResponse]) error {
	if err := a.arrived(s.Context()); err != nil {
		return err
	}
	for _, p := range r.ResponseParameters {
		time.Sleep(time.Duration(p.IntervalUs) * time.Microsecond)
		if err := s.Send(&pb.StreamingOutputCallResponse{Payload: &pb.Payload{Body: make([]byte, p.Size)}}); err != nil {
			return err
		}
	}
	return nil
}

// StreamingInputCall says at the end how much came.
func (a *rpcApp) StreamingInputCall(s grpc.ClientStreamingServer[pb.StreamingInputCallRequest, pb.StreamingInputCallResponse]) error {
	if err := a.arrived(s.Context()); err != nil {
		return err
	}
	var size int32
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return s.SendAndClose(&pb.StreamingInputCallResponse{AggregatedPayloadSize: size})
		}
		if err != nil {
			a.gone <- s.Context().Err()
			return err
		}
		size += int32(len(r.GetPayload().GetBody()))
	}
}

// FullDuplexCall sends each message back. It sends its header at once.
func (a *rpcApp) FullDuplexCall(s grpc.BidiStreamingServer[pb.StreamingOutputCallRequest, pb.StreamingOutputCallResponse]) error {
	if err := a.arrived(s.Context()); err != nil {
		return err
	}
	if err := s.SendHeader(metadata.Pairs("app-header", "h")); err != nil {
		return err
	}
	for {
		r, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			a.gone <- s.Context().Err()
			return err
		}
		if err := s.Send(&pb.StreamingOutputCallResponse{Payload: r.Payload}); err != nil {
			return err
		}
	}
}

// rpcLab is a gateway with a TLS listener, in front of an ordinary application and of a gRPC one, by rule.
type rpcLab struct {
	*gateway
	app    *rpcApp
	client pb.TestServiceClient
	token  string
}

// rpcConfig is the config of such a gateway. redis is a `redis:` section.
func rpcConfig(t *testing.T, a *rpcApp, redis string) string {
	t.Helper()
	cfg := strings.Replace(baseConfig(whoApp(t), redis), "rules:\n", fmt.Sprintf(`rules:
  - path: %s
    upstream: %s
  - path: %[1]s/EmptyCall
    upstream: %[2]s
    roles: [admin]
  - path: %[1]s/UnimplementedCall
    access: public
    upstream: h2c://127.0.0.1:1
  - path: %[1]s/CacheableUnaryCall
    unauthenticated: redirect
    upstream: %[2]s
`, grpcPath, a.url), 1)
	if a.ca != "" {
		cfg += "upstream_tls: {ca_file: " + a.ca + "}\n"
	}
	return cfg
}

const embeddedRedis = "redis: {addresses: [embedded]}\n"

// tlsListener adds the settings and files of a TLS listener.
func tlsListener(t *testing.T, cfg string) (string, options) {
	t.Helper()
	cert, key := testcert.Write(t, t.TempDir())
	return cfg + fmt.Sprintf("tls: {cert_file: %s, key_file: %s}\n", cert, key), withUsers()
}

// startRPCLab starts the gateway and logs a user in.
func startRPCLab(t *testing.T, a *rpcApp, cfg string) *rpcLab {
	t.Helper()
	cfg, opts := tlsListener(t, cfg)
	g := start(t, cfg, opts)
	return &rpcLab{gateway: g, app: a, client: rpcClient(t, g), token: tlsLogin(t, g)}
}

var anyCertificate = &tls.Config{InsecureSkipVerify: true}

func rpcClient(t *testing.T, g *gateway) pb.TestServiceClient {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+g.addr, grpc.WithTransportCredentials(credentials.NewTLS(anyCertificate.Clone())))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return pb.NewTestServiceClient(conn)
}

// tlsBrowser is a browser at a gateway with a TLS listener.
func tlsBrowser(t *testing.T, g *gateway) *browser {
	t.Helper()
	b := newBrowser(t, g.url)
	b.client.Transport.(*http.Transport).TLSClientConfig = anyCertificate.Clone()
	return b
}

func tlsLogin(t *testing.T, g *gateway) string {
	t.Helper()
	b := tlsBrowser(t, g)
	b.login(userEmail, userPassword)
	return b.token()
}

// ctx is the context of a call with the session, and with more metadata. Nothing hangs for ever in it.
func (l *rpcLab) ctx(t *testing.T, more ...string) context.Context {
	return rpcContext(t, l.token, more...)
}

func rpcContext(t *testing.T, token string, more ...string) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	if token != "" {
		more = append(more, "cookie", "gatehouse="+token+"; other=1")
	}
	return metadata.AppendToOutgoingContext(ctx, more...)
}

// wantCode holds the end of a call against a code, and that it says something.
func wantCode(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if st := grpcstatus.Convert(err); st.Code() != want || want != codes.OK && st.Message() == "" {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

func payload(n int) *pb.Payload { return &pb.Payload{Body: make([]byte, n)} }
