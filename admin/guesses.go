package admin

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"
)

// maxGuessers bounds the addresses that are remembered. The one not seen for longest is forgotten first.
const maxGuessers = 10_000

// guesses bounds what wrong tokens from one address cost: past the limit there is no audit line for them, or who guesses would fill
// the log. It asks nobody with the right token to wait. All clients of a proxy have its address, and any of them could shut
// out the operators; and a token of at least 32 characters is not found by guessing, however fast.
type guesses struct {
	mu   sync.Mutex
	from *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

func newGuesses() *guesses {
	from, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](maxGuessers, nil)
	if err != nil { // only for a size below one
		panic(err)
	}
	return &guesses{from: from}
}

// wrong notes a wrong token, and gives how long the address is to wait, 0 when it is within the limit. What comes while it
// waits is not noted, or it would wait for ever.
func (g *guesses) wrong(client netip.Addr, now time.Time) (wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := network(client)
	limit, known := g.from.Get(from)
	if !known {
		limit = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		g.from.Add(from, limit)
	}
	if missing := 1 - limit.TokensAt(now); missing > 0 {
		return time.Duration(missing * float64(guessEvery))
	}
	limit.AllowN(now, 1)
	return 0
}

// network is what counts as one address: with IPv6 a /64, out of which one machine takes as many as it likes.
func network(a netip.Addr) netip.Prefix {
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.WithZone("").Prefix(bits) // the zero address gives the zero prefix: one for all of them
	return p
}
