package login

import (
	"net/http"
	"net/netip"

	"gatehouse/login/users"
	"gatehouse/telemetry"
)

// LimitKey is what an address is limited by: an IPv4 address itself, an IPv6 address's /64, because
// one customer commands all of a /64 (H10, L03). Clients without an address (unix socket) share one key.
func LimitKey(client netip.Addr) string {
	client = client.Unmap().WithZone("")
	if !client.Is6() {
		return client.String()
	}
	prefix, err := client.Prefix(64)
	if err != nil {
		return client.String()
	}
	return prefix.String()
}

// fold makes the spellings of one account one: `Bob`, `bob ` and NFKC variants (L03).
func fold(account string) string { return users.Fold(account) }

// allowAddress takes one attempt from the limit of the request's client. Error: *LimitError.
func (h *Handler) allowAddress(r *http.Request) error {
	key := LimitKey(telemetry.RequestFrom(r.Context()).Client)
	if wait, ok := h.addresses.Allow(key); !ok {
		return &LimitError{Limit: "address", RetryAfter: wait}
	}
	return nil
}

// allowAccount takes one attempt from the limit of the account that was typed, whether there is such
// an account or not. Call it before the credential is checked and only after allowAddress, so that one
// address cannot fill the table with names. Error: *LimitError.
func (h *Handler) allowAccount(account string) error {
	if wait, ok := h.accounts.Allow(fold(account)); !ok {
		return &LimitError{Limit: "account", RetryAfter: wait}
	}
	return nil
}
