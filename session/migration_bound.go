package session

import "sync"

// imports bounds how many sessions come over at a time. Each holds a connection to the database and a lock while Redis
// is asked; with a slow Redis they would leave no connection for people whose sessions are read from the table.
// And one browser's parallel requests bring its session over once.
type imports struct {
	max int

	mu   sync.Mutex
	rows map[ID]struct{}
}

func newImports(connections int) *imports {
	return &imports{max: max(connections/2, 1), rows: map[ID]struct{}{}}
}

// begin reports whether a session may come over now. end must follow then.
func (i *imports) begin(id ID) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, under := i.rows[id]; under || len(i.rows) >= i.max {
		return false
	}
	i.rows[id] = struct{}{}
	return true
}

func (i *imports) end(id ID) {
	i.mu.Lock()
	defer i.mu.Unlock()
	delete(i.rows, id)
}
