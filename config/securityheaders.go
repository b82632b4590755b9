package config

import "time"

// SecurityHeaders are headers the gateway adds to the application's answers, for browsers. Each is added only where the
// application says nothing under its name: it knows its own pages, which of them may be framed for instance, and two different
// values leave to the browser which one holds. All are off by default: each can break an application that does not expect it.
//
// A rule's section is laid over the one at the top key by key, so that a rule that wants another frame_options does not lose the
// rest without noticing. To turn one off in a rule write 0s, false or unset.
type SecurityHeaders struct {
	// HSTS is the max-age of Strict-Transport-Security (RFC 6797): for so long browsers ask for this host over https only. It is sent on
	// https requests only (7.2), and with the gateway's own answers too. At least 1s; to take it back, 1s for a while. Default 0s: off.
	HSTS *time.Duration `mapstructure:"hsts"`
	// HSTSIncludeSubdomains extends it to all subdomains, whoever runs them. Default false.
	HSTSIncludeSubdomains *bool `mapstructure:"hsts_include_subdomains"`
	// HSTSPreload agrees to the host being built into browsers, which takes months to undo (hstspreload.org). It needs the subdomains
	// and a year. Default false.
	HSTSPreload *bool `mapstructure:"hsts_preload"`
	// FrameOptions is X-Frame-Options (RFC 7034): deny or sameorigin, against clickjacking; unset turns it off. Default: off.
	FrameOptions string `mapstructure:"frame_options"`
	// ContentTypeOptions sends X-Content-Type-Options: nosniff, so that an upload is not taken for a page or script. Default false.
	ContentTypeOptions *bool `mapstructure:"content_type_options"`
	// ReferrerPolicy is Referrer-Policy, one of the W3C's policies, so that addresses of pages do not reach other sites; unset turns it
	// off. Default: off.
	ReferrerPolicy string `mapstructure:"referrer_policy"`
}

// Unset turns a header of SecurityHeaders off that stands above.
const Unset = "unset"

// minPreload is the shortest HSTS that the preload lists of browsers accept (hstspreload.org).
const minPreload = 8760 * time.Hour

// frameOptions and referrerPolicies are the values of these headers (RFC 7034; W3C Referrer Policy, section 3).
var (
	frameOptions     = []string{"deny", "sameorigin", Unset}
	referrerPolicies = []string{
		"no-referrer", "no-referrer-when-downgrade", "same-origin", "origin", "strict-origin", "origin-when-cross-origin",
		"strict-origin-when-cross-origin", "unsafe-url", Unset,
	}
)

// Over lays h over what stands above it.
func (h SecurityHeaders) Over(above SecurityHeaders) SecurityHeaders {
	lay(&above.HSTS, h.HSTS)
	lay(&above.HSTSIncludeSubdomains, h.HSTSIncludeSubdomains)
	lay(&above.HSTSPreload, h.HSTSPreload)
	lay(&above.ContentTypeOptions, h.ContentTypeOptions)
	if h.FrameOptions != "" {
		above.FrameOptions = h.FrameOptions
	}
	if h.ReferrerPolicy != "" {
		above.ReferrerPolicy = h.ReferrerPolicy
	}
	return above
}

func lay[T any](above **T, own *T) {
	if own != nil {
		*above = own
	}
}

// valueOf gives what p points to; nothing is the zero value.
func valueOf[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// securityHeaders checks one section; whole is that section laid over what stands above it.
func (k *checker) securityHeaders(key string, own, whole SecurityHeaders) {
	if own.FrameOptions != "" {
		k.add(key+".frame_options", oneOf(own.FrameOptions, frameOptions...))
	}
	if own.ReferrerPolicy != "" {
		k.add(key+".referrer_policy", oneOf(own.ReferrerPolicy, referrerPolicies...))
	}
	age, subdomains, preload := valueOf(whole.HSTS), valueOf(whole.HSTSIncludeSubdomains), valueOf(whole.HSTSPreload)
	switch {
	case own.HSTS != nil && (*own.HSTS < 0 || *own.HSTS > 0 && *own.HSTS < time.Second):
		k.add(key+".hsts", faultf("write a time such as 8760h, or 0s to turn it off", "%s is no whole second, browsers would forget the host's policy", formatDuration(*own.HSTS)))
	case valueOf(own.HSTSIncludeSubdomains) && age == 0:
		k.add(key+".hsts_include_subdomains", faultf("set hsts beside it, such as hsts: 8760h", "says nothing without hsts"))
	case valueOf(own.HSTSPreload) && !subdomains:
		k.add(key+".hsts_preload", faultf("set hsts_include_subdomains as well, or delete it", "needs the subdomains, browsers take no host without them"))
	case preload && age < minPreload && (valueOf(own.HSTSPreload) || valueOf(own.HSTS) > 0):
		k.add(key+".hsts_preload", faultf("write hsts: 8760h or more, or no hsts_preload", "needs hsts for a year at least, it is %s", formatDuration(age)))
	}
}
