package login

import (
	"context"
	"net/http"

	"gatehouse/config"
	"gatehouse/login/users"
	"gatehouse/ratelimit"
	"gatehouse/telemetry"
)

// fold makes the spellings of one account one: `Bob`, `bob ` and NFKC variants (L03).
func fold(account string) string { return users.Fold(account) }

// allowAddress takes one attempt from the limit of the request's client. Error: *LimitError.
func (h *Handler) allowAddress(r *http.Request) error {
	key := ratelimit.AddressKey(telemetry.RequestFrom(r.Context()).Client)
	return h.take("address", h.addresses, h.cfg.Limits.PerAddress, key)
}

// allowAccount takes one attempt from the limit of the account that was typed, whether there is such
// an account or not. Call it before the credential is checked and only after allowAddress, so that one
// address cannot fill the table with names. Error: *LimitError.
func (h *Handler) allowAccount(account string) error {
	return h.take("account", h.accounts, h.cfg.Limits.PerAccount, fold(account))
}

// allowUser takes one attempt from a limit of the same size under a key of the backend's own. Nobody can
// type such a key: folding removes the space before it. Error: *LimitError.
func (h *Handler) allowUser(key string) error {
	return h.take("account", h.accounts, h.cfg.Limits.PerAccount, " "+key)
}

// take takes one event from this replica's bucket, then from the one that all replicas share (L03). This
// replica's comes first and costs Redis nothing: a flood stops here. While Redis is away it stands
// alone, and nobody can log in anyway.
func (h *Handler) take(limit string, own *ratelimit.Limiter, r config.Rate, key string) error {
	if wait, ok := own.Allow(key); !ok {
		return &LimitError{Limit: limit, RetryAfter: wait}
	}
	if h.deps.Limits == nil {
		return nil
	}
	wait, ok, err := h.deps.Limits.Take(context.Background(), limit+":"+key, r.PerSecond(), h.cfg.Limits.Burst)
	if err == nil && !ok {
		return &LimitError{Limit: limit, RetryAfter: wait}
	}
	return nil
}

// noteLimit counts and writes down that a limit was over for somebody who logs out or ends sessions. Logins have a line of
// their own.
func (h *Handler) noteLimit(r *http.Request, limit *LimitError) {
	facts := telemetry.RequestFrom(r.Context())
	h.deps.Metrics.Limited(limit.Limit)
	telemetry.LogAudit(&h.deps.Log, telemetry.Audit{Event: telemetry.EventLimit, RequestID: facts.ID, Client: clientText(facts),
		UserID: facts.UserID, Backend: h.backend.name(), Reason: limit.Limit})
}
