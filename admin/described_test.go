package admin_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
)

// described is the description the binary holds, as a validator.
var described = sync.OnceValue(func() *openapi3.T {
	doc, err := openapi3.NewLoader().LoadFromFile("openapi.yaml")
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		panic(err)
	}
	// Clients must bear new fields; these tests do not bear one that is not described.
	for _, s := range doc.Components.Schemas {
		closed(s.Value)
	}
	return doc
})

// closed allows no further fields.
func closed(s *openapi3.Schema) {
	if s == nil {
		return
	}
	if len(s.Properties) > 0 {
		no := false
		s.AdditionalProperties.Has = &no
	}
	for _, p := range s.Properties {
		closed(p.Value)
	}
	if s.Items != nil {
		closed(s.Items.Value)
	}
}

var router = sync.OnceValue(func() routers.Router {
	r, err := gorillamux.NewRouter(described())
	if err != nil {
		panic(err)
	}
	return r
})

// seen are the operations and statuses that tests have met: "listSessions 200".
var (
	seenMu sync.Mutex
	seen   = map[string]bool{}
)

func init() {
	openapi3filter.RegisterBodyDecoder("application/x-ndjson", openapi3filter.PlainBodyDecoder)
}

// asDescribed validates a request that was answered well, and the answer in any case.
func asDescribed(t testing.TB, req *http.Request, body string, got answer) {
	t.Helper()
	if !strings.HasPrefix(req.URL.Path, "/api/") {
		return
	}
	route, params, err := router().FindRoute(req)
	if err != nil {
		if got.StatusCode != http.StatusNotFound && got.StatusCode != http.StatusMethodNotAllowed && got.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s is answered with %d and not described: %v", req.Method, req.URL, got.StatusCode, err)
		}
		return
	}
	req = req.Clone(context.Background())
	req.Body = io.NopCloser(strings.NewReader(body))
	in := &openapi3filter.RequestValidationInput{Request: req, PathParams: params, Route: route, Options: &openapi3filter.Options{
		IncludeResponseStatus: true, MultiError: true, AuthenticationFunc: bearsToken,
	}}
	if err := openapi3filter.ValidateRequest(context.Background(), in); err != nil && got.StatusCode < 300 {
		t.Errorf("%s %s was answered, but is not as described: %v", req.Method, req.URL, err)
	}
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: got.StatusCode, Header: got.Header, Options: in.Options}
	out.SetBodyBytes(bytes.Clone(got.body))
	if err := openapi3filter.ValidateResponse(context.Background(), out); err != nil {
		t.Errorf("%s %s: the answer %d is not as described: %v\n%s", req.Method, req.URL, got.StatusCode, err, got.body)
	}
	seenMu.Lock()
	defer seenMu.Unlock()
	seen[fmt.Sprint(route.Operation.OperationID, " ", got.StatusCode)] = true
}

func bearsToken(_ context.Context, in *openapi3filter.AuthenticationInput) error {
	if in.RequestValidationInput.Request.Header.Get("Authorization") == "" {
		return errors.New("no token")
	}
	return nil
}

// TestMain says which promises of the description no test has met.
func TestMain(m *testing.M) {
	code := m.Run()
	if all := flag.Lookup("test.run").Value.String() == "" && flag.Lookup("test.fuzz").Value.String() == "" && flag.Lookup("test.list").Value.String() == ""; all && code == 0 {
		if missing := unmet(); len(missing) > 0 {
			fmt.Fprintf(os.Stderr, "FAIL: openapi.yaml describes what no test has met:\n%s\n", strings.Join(missing, "\n"))
			code = 1
		}
	}
	os.Exit(code)
}

func unmet() (missing []string) {
	for _, item := range described().Paths.Map() {
		for _, op := range item.Operations() {
			for status := range op.Responses.Map() {
				if what := op.OperationID + " " + status; !seen[what] {
					missing = append(missing, what)
				}
			}
		}
	}
	slices.Sort(missing)
	return missing
}
