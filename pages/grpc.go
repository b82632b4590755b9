package pages

import (
	"net/http"
	"strconv"
	"strings"

	"gatehouse/telemetry"
)

// gRPC's status codes that the gateway's own answers need (https://grpc.github.io/grpc/core/md_doc_statuscodes.html).
const (
	grpcUnknown           = 2
	grpcInvalidArgument   = 3
	grpcDeadlineExceeded  = 4
	grpcPermissionDenied  = 7
	grpcResourceExhausted = 8
	grpcUnimplemented     = 12
	grpcInternal          = 13
	grpcUnavailable       = 14
	grpcUnauthenticated   = 16
)

// grpcCodes say in gRPC's words what the HTTP statuses of problems say. They differ from what a client would
// make of the plain status (gRPC: HTTP to gRPC Status Code Mapping) where that says less: 413 and 431 would be
// UNKNOWN, and 504 would be UNAVAILABLE, which clients take for a call that may be repeated; it may have been
// carried out.
var grpcCodes = map[int]int{
	http.StatusBadRequest:                  grpcInvalidArgument,
	http.StatusUnauthorized:                grpcUnauthenticated,
	http.StatusForbidden:                   grpcPermissionDenied,
	http.StatusNotFound:                    grpcUnimplemented,
	http.StatusMethodNotAllowed:            grpcUnimplemented,
	http.StatusRequestTimeout:              grpcDeadlineExceeded,
	http.StatusRequestEntityTooLarge:       grpcResourceExhausted,
	http.StatusRequestURITooLong:           grpcResourceExhausted,
	http.StatusRequestHeaderFieldsTooLarge: grpcResourceExhausted,
	http.StatusTooManyRequests:             grpcResourceExhausted,
	http.StatusInternalServerError:         grpcInternal,
	http.StatusBadGateway:                  grpcUnavailable,
	http.StatusServiceUnavailable:          grpcUnavailable,
	http.StatusGatewayTimeout:              grpcDeadlineExceeded,
	http.StatusLoopDetected:                grpcInternal,
}

func grpcCode(status int) int {
	if code, ok := grpcCodes[status]; ok {
		return code
	}
	return grpcUnknown
}

const grpcType = "application/grpc"

// IsGRPC reports whether r is a call of gRPC (over HTTP/2, which it needs) or of gRPC-Web: a POST whose
// content type is application/grpc, application/grpc-web or application/grpc-web-text, with or without +format.
func IsGRPC(r *http.Request) bool {
	kind := grpcKind(r)
	return kind != "" && (r.ProtoMajor >= 2 || kind != grpcType)
}

// grpcKind gives the content type of an answer to r; empty when r is no call.
func grpcKind(r *http.Request) string {
	given := r.Header["Content-Type"]
	if r.Method != http.MethodPost || len(given) != 1 || len(given[0]) < len(grpcType) || !strings.EqualFold(given[0][:len(grpcType)], grpcType) {
		return ""
	}
	kind := strings.ToLower(given[0])
	if end := strings.IndexAny(kind, "+; "); end >= 0 {
		kind = kind[:end]
	}
	switch kind {
	case grpcType, grpcType + "-web", grpcType + "-web-text":
		return kind
	}
	return ""
}

// grpc answers a call: 200 and no body, the status in the header ("Trailers-Only" in gRPC's protocol). A login
// page, or a redirect to it, would be an unreadable message. The access line says what the HTTP status would be.
func (p *Pages) grpc(w http.ResponseWriter, r *http.Request, pr Problem) {
	pr, _ = pr.complete()
	h := w.Header()
	forgetBody(h)
	h.Del("Content-Length")
	h.Del("Location")
	h.Set("Content-Type", grpcKind(r))
	h.Set("Cache-Control", "no-store")
	setRetryAfter(w, pr.RetryAfter)
	GRPCStatus(h, "", r, pr)
	w.WriteHeader(http.StatusOK)
}

// GRPCStatus sets what ends a call, under names that begin with prefix: [http.TrailerPrefix] when the answer
// has begun. The access line hears of it.
func GRPCStatus(h http.Header, prefix string, r *http.Request, pr Problem) {
	pr, _ = pr.complete()
	code := strconv.Itoa(grpcCode(pr.Status))
	h.Set(prefix+"Grpc-Status", code)
	h.Set(prefix+"Grpc-Message", grpcMessage(pr.Message))
	to := telemetry.RequestFrom(r.Context())
	to.Status, to.GRPCStatus = pr.Status, code
}

// grpcMessage percent-encodes what is not printable ASCII (gRPC over HTTP2, Responses: Percent-Encoded).
func grpcMessage(text string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '%' {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}
