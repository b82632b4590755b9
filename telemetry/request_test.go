package telemetry_test

import (
	"context"
	"testing"

	"gatehouse/telemetry"
)

func TestRequestFacts(t *testing.T) {
	t.Parallel()
	facts := &telemetry.Request{ID: "r1"}
	ctx := telemetry.WithRequest(t.Context(), facts)
	telemetry.RequestFrom(ctx).UserID = "42"
	if facts.UserID != "42" {
		t.Error("what a handler learns does not reach the access line")
	}
	inner := telemetry.WithRequest(ctx, &telemetry.Request{ID: "r2"})
	if telemetry.RequestFrom(inner).ID != "r2" || telemetry.RequestFrom(ctx).ID != "r1" {
		t.Error("contexts are mixed up")
	}
}

func TestNoRequestFacts(t *testing.T) {
	t.Parallel()
	a, b := telemetry.RequestFrom(context.Background()), telemetry.RequestFrom(context.Background())
	if a == nil || *a != (telemetry.Request{}) {
		t.Fatalf("%+v, want an empty one", a)
	}
	a.UserID = "42"
	if b.UserID != "" || telemetry.RequestFrom(context.Background()).UserID != "" {
		t.Error("requests without facts share theirs: one user's identity would show at another's")
	}
}
