package assertion

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is how often a file is looked at, at most, and only when somebody asks.
	lookEvery = time.Second
	// settle is how old a change must be to be taken up at the first look. A younger one may be half-written, and half a
	// file of keys can be a good file with fewer keys: it must be found twice.
	settle = time.Second
	// maxFile bounds a file, in bytes: a wrong one named by mistake must not fill the memory.
	maxFile = 64 << 10
)

// followed is what a file holds, read again when it changes. Whatever happens to the file, the last good content stays
// in force. It is read as a whole: its times would not show two changes within one tick of the file system's clock.
type followed[T any] struct {
	path    string
	parse   func([]byte) (T, error)
	changed func(T)     // was taken up
	failed  func(error) // told once for each error

	current atomic.Pointer[T]
	looked  atomic.Int64 // in Unix nanoseconds

	mu    sync.Mutex        // of whoever looks
	taken [sha256.Size]byte // of what current was made from
	seen  [sha256.Size]byte // at the last look
	told  string
}

// open reads the file for the first time.
func (f *followed[T]) open(now time.Time) error {
	text, _, err := readFile(f.path)
	if err != nil {
		return err
	}
	value, err := f.parse(text)
	if err != nil {
		return err
	}
	f.current.Store(&value)
	f.taken = sha256.Sum256(text)
	f.seen = f.taken
	f.looked.Store(now.UnixNano())
	return nil
}

// get gives what is in force. Who comes when it is time to look does so; nobody waits for him.
func (f *followed[T]) get(now time.Time) T {
	if f.path != "" && time.Duration(now.UnixNano()-f.looked.Load()).Abs() >= lookEvery && f.mu.TryLock() {
		f.looked.Store(now.UnixNano())
		f.look(now)
		f.mu.Unlock()
	}
	return *f.current.Load()
}

func (f *followed[T]) look(now time.Time) {
	text, modified, err := readFile(f.path)
	if err != nil {
		f.tell(err)
		return
	}
	sum := sha256.Sum256(text)
	young := sum != f.seen && now.Sub(modified).Abs() < settle
	f.seen = sum
	switch {
	case sum == f.taken:
		f.told = ""
		return
	case young:
		return
	}
	value, err := f.parse(text)
	if err != nil {
		f.tell(err)
		return
	}
	f.taken, f.told = sum, ""
	f.current.Store(&value)
	f.changed(value)
}

func (f *followed[T]) tell(err error) {
	if f.told != err.Error() {
		f.told = err.Error()
		f.failed(err)
	}
}

func readFile(path string) (text []byte, modified time.Time, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, time.Time{}, withoutPath(err)
	}
	defer func() { _ = f.Close() }() // only read: nothing to lose
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, withoutPath(err)
	}
	if text, err = io.ReadAll(io.LimitReader(f, maxFile+1)); err != nil {
		return nil, time.Time{}, withoutPath(err)
	}
	if len(text) > maxFile {
		return nil, time.Time{}, fmt.Errorf("is larger than %d KiB", maxFile>>10)
	}
	return text, info.ModTime(), nil
}

// withoutPath spares a message from naming the file twice.
func withoutPath(err error) error {
	if inPath := new(fs.PathError); errors.As(err, &inPath) {
		return inPath.Err
	}
	return err
}
