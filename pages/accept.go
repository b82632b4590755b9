package pages

import (
	"net/http"
	"strconv"
	"strings"
)

// WantsJSON reports whether a program is asking, which can do nothing with a page or with a
// redirect to one. In this order:
//
//  1. X-Requested-With: XMLHttpRequest, as many script libraries send: a program.
//  2. Sec-Fetch-Mode that is not navigate (fetch, XHR, EventSource, WebSocket, images, scripts):
//     a program. Without a mode, a Sec-Fetch-Dest that is neither a document nor a frame: a program.
//  3. Accept (RFC 9110 section 12.5.1): a program if it likes JSON better than HTML, if it names
//     JSON and takes HTML only through a wildcard ("application/json, */*"), or if it takes no HTML at all.
//
// Everything else is a person, also "Accept: */*" and no Accept: that is what curl and old tools
// send, and who tries an address by hand is helped by a redirect to the login page. A rule with
// `unauthenticated: json` says otherwise for an API whose clients send no Accept.
func WantsJSON(r *http.Request) bool {
	if strings.EqualFold(strings.TrimSpace(r.Header.Get("X-Requested-With")), "XMLHttpRequest") {
		return true
	}
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" {
		if mode != "navigate" {
			return true
		}
	} else {
		switch r.Header.Get("Sec-Fetch-Dest") {
		case "", "document", "iframe", "frame":
		default:
			return true
		}
	}
	accept := strings.Join(r.Header.Values("Accept"), ",")
	if strings.TrimSpace(accept) == "" {
		return false
	}
	page, data := weigh(accept)
	switch {
	case page.q == 0:
		return true
	case data.q != page.q:
		return data.q > page.q
	default:
		return data.named && !page.named
	}
}

// weight is how much a client likes a media type.
type weight struct {
	q     float64
	named bool // by its own name, not through a wildcard
	rank  int  // how precise the range was that set q: the most precise one counts
}

func (w *weight) offer(rank int, q float64) {
	// Of several names of the same kind (application/json, application/problem+json) the best counts.
	if rank > w.rank || rank == w.rank && q > w.q {
		w.q, w.rank, w.named = q, rank, rank == 3
	}
}

// weigh reads an Accept header for HTML and for JSON. What cannot be read is passed over.
func weigh(accept string) (page, data weight) {
	for item := range strings.SplitSeq(accept, ",") {
		name, params, _ := strings.Cut(item, ";")
		q := quality(params)
		switch name = strings.ToLower(strings.TrimSpace(name)); {
		case name == "text/html" || name == "application/xhtml+xml":
			page.offer(3, q)
		case name == "application/json" || strings.HasPrefix(name, "application/") && strings.HasSuffix(name, "+json"):
			data.offer(3, q)
		case name == "text/*":
			page.offer(2, q)
		case name == "application/*":
			data.offer(2, q)
		case name == "*/*":
			page.offer(1, q)
			data.offer(1, q)
		}
	}
	return page, data
}

// quality reads q of a media range's parameters: 1 when there is none, and when it is broken.
func quality(params string) float64 {
	for param := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(param, "=")
		if !strings.EqualFold(strings.TrimSpace(key), "q") {
			continue
		}
		if q, err := strconv.ParseFloat(strings.TrimSpace(value), 64); err == nil && q >= 0 && q <= 1 {
			return q
		}
	}
	return 1
}
