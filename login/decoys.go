package login

import (
	"sync"

	"gatehouse/login/password"
)

// Bounds of what is remembered of hashes.
const (
	// maxCosts is how many costs are counted. A table has one, or two while it is being renewed.
	maxCosts = 16
	// maxSeen is after how many accounts all counts are halved, so that a table whose hashes are renewed is seen as it is now.
	maxSeen = 1024
)

// decoys makes an attempt on an account that is not there take as long as on one that is (L04): it
// remembers the cost of hashes that are most common among the accounts asked for. Until it has seen one it
// is what new hashes cost. In a table of several costs, accounts of the rarer ones can be told from none
// by the time; login.database.rehash makes them alike. The zero value works.
type decoys struct {
	mu    sync.Mutex
	costs map[string]*seenCost
	total int
	most  *seenCost
}

// seenCost is a cost, with how often it was seen.
type seenCost struct {
	decoy password.Hash
	count int
}

// hash is one to compare a password with that nobody has.
func (d *decoys) hash() password.Hash {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.most == nil {
		return password.Hash{}.Decoy()
	}
	return d.most.decoy
}

// seen counts the hash of an account.
func (d *decoys) seen(h password.Hash) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.costs[h.Cost()]
	if c == nil {
		c = d.add(h)
	}
	c.count++
	// More, not as many: of two that are as common, one stays.
	if d.most == nil || c.count > d.most.count {
		d.most = c
	}
	if d.total++; d.total == maxSeen {
		d.total = 0
		for _, c := range d.costs {
			c.count /= 2
		}
	}
}

// add takes up a cost, in the place of the rarest when there are too many: it inherits that one's count, or
// it could never catch up.
func (d *decoys) add(h password.Hash) *seenCost {
	c := &seenCost{decoy: h.Decoy()}
	if d.costs == nil {
		d.costs = make(map[string]*seenCost)
	}
	if len(d.costs) == maxCosts {
		var rarest string
		for cost, other := range d.costs {
			if rarest == "" || other.count < d.costs[rarest].count {
				rarest = cost
			}
		}
		c.count = d.costs[rarest].count
		delete(d.costs, rarest)
	}
	d.costs[h.Cost()] = c
	return c
}
