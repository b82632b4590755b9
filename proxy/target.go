package proxy

import "net/url"

// ForwardURL is the URL of the request to the application at base: base's scheme and host, and p's path
// and query byte for byte (P11, P13).
//
// It is the Opaque form. With Path and RawPath net/url would encode the path anew, and | or "
// would arrive as something that was not judged; with RawQuery a query of a lone ? would get lost.
// Opaque goes onto the request line as it is, in HTTP/1.1 and in HTTP/2, except that net/url puts the
// scheme before an Opaque that begins with //, which no judged path does.
func ForwardURL(p Path, base *url.URL) *url.URL {
	return &url.URL{Scheme: base.Scheme, Host: base.Host, Opaque: p.target}
}
