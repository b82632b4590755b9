package session

// What goes when the answers do not fit is found by the second-chance algorithm: nearly as good as the
// longest unused, and a hit writes no more than one bit. All of it happens under replies.mu.

// add keeps an answer. That a key is absent is kept where it is evicted first: anybody can make up cookies,
// and must not push out sessions with them.
func (c *replyConn) add(r *answer) {
	if r.size() > c.all.limit {
		return
	}
	c.held[r.name] = r
	if r.absent {
		c.linkFirst(r)
	} else {
		c.linkLast(r)
	}
	c.count(r.size(), 1)
}

// remove takes out an answer; nil is none.
func (c *replyConn) remove(r *answer) {
	if r == nil {
		return
	}
	delete(c.held, r.name)
	c.unlink(r)
	c.count(-r.size(), -1)
}

func (c *replyConn) count(bytes, entries int) {
	c.bytes += bytes
	c.all.bytes += bytes
	c.all.usage.changed(bytes, entries)
}

// clear drops all answers at once: it must not take long when a connection with a million of them breaks.
func (c *replyConn) clear() {
	c.count(-c.bytes, -len(c.held))
	c.held = make(map[string]*answer)
	c.first, c.last = nil, nil
}

// shrink evicts until the answers fit, and gives how many sessions' went for it.
func (a *replies) shrink() (evicted int) {
	for a.bytes > a.limit {
		from := a.dispensable()
		r := from.victim()
		if r == nil {
			return evicted // not possible while bytes are counted right
		}
		from.remove(r)
		if !r.absent {
			evicted++
		}
	}
	return evicted
}

// dispensable is the connection to evict from: the one that holds most, of those with absent keys if there are any.
func (a *replies) dispensable() (best *replyConn) {
	for c := range a.conns {
		switch {
		case best == nil, c.absences() && !best.absences(), c.absences() == best.absences() && c.bytes > best.bytes:
			best = c
		}
	}
	return best
}

// absences reports whether it holds any: add keeps them first.
func (c *replyConn) absences() bool { return c.first != nil && c.first.absent }

// victim gives the first answer that was not used since it was passed over last.
func (c *replyConn) victim() *answer {
	for range maxSpared {
		r := c.first
		if r == nil || r.absent || !r.used.Load() {
			return r
		}
		r.used.Store(false)
		c.unlink(r)
		c.linkLast(r)
	}
	return c.first
}

func (c *replyConn) linkFirst(r *answer) {
	r.prev, r.next = nil, c.first
	if c.first != nil {
		c.first.prev = r
	} else {
		c.last = r
	}
	c.first = r
}

func (c *replyConn) linkLast(r *answer) {
	r.prev, r.next = c.last, nil
	if c.last != nil {
		c.last.next = r
	} else {
		c.first = r
	}
	c.last = r
}

func (c *replyConn) unlink(r *answer) {
	if r.prev != nil {
		r.prev.next = r.next
	} else {
		c.first = r.next
	}
	if r.next != nil {
		r.next.prev = r.prev
	} else {
		c.last = r.prev
	}
	r.prev, r.next = nil, nil
}
