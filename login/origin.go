package login

import (
	"fmt"
	"net/http"
	"net/url"
)

// newOrigins is the origin check of Go's standard library with the origins that may post besides
// the request's own: the public URL, which differs from the Host header behind a proxy that rewrites
// it, and those the operator trusts.
func newOrigins(public *url.URL, trusted []string) (*http.CrossOriginProtection, error) {
	p := http.NewCrossOriginProtection()
	if public != nil {
		origin := url.URL{Scheme: public.Scheme, Host: public.Host}
		if err := p.AddTrustedOrigin(origin.String()); err != nil {
			return nil, fmt.Errorf("public_url: %w", err)
		}
	}
	for i, origin := range trusted {
		if err := p.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("trusted_origins[%d]: %w", i, err)
		}
	}
	return p, nil
}

// sameOrigin refuses a POST that another site made the browser send (L01): a forged login would put
// the person into the attacker's account, a forged logout would throw them out.
// Programs, which send neither header, pass. Error: ErrCrossSite.
func (h *Handler) sameOrigin(r *http.Request) error {
	for _, name := range [...]string{"Origin", "Sec-Fetch-Site"} {
		// Go looks at the first line only; what a proxy before us looked at is unknown. No browser sends two.
		if len(r.Header[name]) > 1 {
			return fmt.Errorf("%w: %d %s headers", ErrCrossSite, len(r.Header[name]), name)
		}
	}
	// Sandboxed frames, data: documents and cross-origin redirects are origin null.
	if r.Header.Get("Origin") == "null" {
		return fmt.Errorf("%w: Origin is null", ErrCrossSite)
	}
	if err := h.origins.Check(r); err != nil {
		return fmt.Errorf("%w: %v", ErrCrossSite, err)
	}
	return nil
}
