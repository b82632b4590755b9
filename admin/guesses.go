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

// guesses slows the guessing of the token down. An address that has sent too many wrong ones is refused for a while whatever it
// sends, or a guesser would not be slowed at all. So a program that tries wrong tokens all the time shuts out others behind
// its own address, and nobody else.
type guesses struct {
	mu    sync.Mutex
	wrong *simplelru.LRU[netip.Prefix, *rate.Limiter]
}

func newGuesses() *guesses {
	wrong, err := simplelru.NewLRU[netip.Prefix, *rate.Limiter](maxGuessers, nil)
	if err != nil { // only for a size below one
		panic(err)
	}
	return &guesses{wrong: wrong}
}

// try reports whether right does; it is not asked when the address must wait. Under the lock, so that many guesses at the same
// time count like one after the other; a comparison takes less than a microsecond.
func (g *guesses) try(client netip.Addr, now time.Time, right func() bool) (ok bool, wait time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	from := network(client)
	limit, known := g.wrong.Get(from)
	if known {
		if missing := 1 - limit.TokensAt(now); missing > 0 {
			return false, time.Duration(missing * float64(guessEvery))
		}
	}
	if right() {
		return true, 0
	}
	if !known {
		limit = rate.NewLimiter(rate.Every(guessEvery), guessBurst)
		g.wrong.Add(from, limit)
	}
	limit.AllowN(now, 1)
	return false, 0
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
