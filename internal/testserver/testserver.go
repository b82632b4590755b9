// Package testserver is what the packages that start real servers for tests have in common: one server that
// the tests of a binary share, and the folder its data are copied from.
package testserver

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Shared is a server that the tests of one binary share. It ends with the last test that uses it, or with the last
// release of Keep. The zero value is ready.
type Shared[S any] struct {
	mu      sync.Mutex
	server  S
	running *life
	users   int
}

// Use gives the server until the test ends, and starts it if nobody uses it yet. Whatever start cleans up with the
// testing.TB it is given is cleaned up when the server ends.
func (s *Shared[S]) Use(t testing.TB, start func(testing.TB) S) S {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		l := &life{TB: t}
		s.server, s.running = start(l), l
	}
	s.users++
	t.Cleanup(s.leave)
	return s.server
}

// Keep keeps the server, once a test has started it, until release is called, instead of starting it again whenever
// no test uses it.
func (s *Shared[S]) Keep() (release func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users++
	return s.leave
}

func (s *Shared[S]) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.users--
	if s.users == 0 && s.running != nil {
		s.running.end()
		s.running = nil
	}
}

// life is a test that lasts longer than the one that began it: what is cleaned up with it is cleaned up
// when end is called.
type life struct {
	testing.TB
	cleanups []func()
}

// Cleanup has no lock: only Use calls what calls it, which holds the lock of Shared.
func (l *life) Cleanup(f func()) { l.cleanups = append(l.cleanups, f) }

func (l *life) end() {
	for i := len(l.cleanups) - 1; i >= 0; i-- {
		l.cleanups[i]()
	}
}

// Template is a folder whose folder data is copied for each server: making a server's first data takes a second or
// more, copying them a tenth. It goes with the last server, or with the last release of Keep. The zero value is ready.
type Template struct {
	mu     sync.Mutex
	folder string
	users  int
}

// Use gives the folder to copy, until release is called. make makes an empty folder, fill fills its folder data.
func (x *Template) Use(t testing.TB, make func() (string, error), fill func(folder string) error) (data string, release func()) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.folder == "" {
		folder, err := make()
		if err != nil {
			t.Fatal(err)
		}
		if err := fill(folder); err != nil {
			os.RemoveAll(folder)
			t.Fatal(err)
		}
		x.folder = folder
	}
	x.users++
	return filepath.Join(x.folder, "data"), x.release
}

// Keep keeps the folder, once it is made, until release is called.
func (x *Template) Keep() (release func()) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users++
	return x.release
}

func (x *Template) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.users--
	if x.users == 0 && x.folder != "" {
		os.RemoveAll(x.folder)
		x.folder = ""
	}
}
