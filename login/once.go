package login

import (
	"sync"

	"github.com/rs/zerolog"
)

// maxSaid bounds what is remembered as said.
const maxSaid = 1024

// onceEach logs each cause once: what is wrong with a query or with an account is wrong at every attempt,
// and whoever attempts could fill the log. The zero value works.
type onceEach struct {
	mu   sync.Mutex
	said map[string]struct{}
}

// log writes the line unless one of the same cause was written. After a thousand causes it begins anew.
func (o *onceEach) log(e *zerolog.Event, cause, message string) {
	o.mu.Lock()
	_, again := o.said[cause]
	if !again {
		if o.said == nil || len(o.said) >= maxSaid {
			o.said = make(map[string]struct{})
		}
		o.said[cause] = struct{}{}
	}
	o.mu.Unlock()
	if again {
		e.Discard()
		return
	}
	e.Msg(message)
}
