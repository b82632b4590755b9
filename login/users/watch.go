package users

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

const (
	// pollEvery is how often the file is looked at. Looking costs one stat; watching by inotify would
	// miss changes on network file systems and mounted secrets.
	pollEvery = time.Second
	// settle is how old a change must be for the file's times to be believed: two edits within one
	// tick of a file system's clock leave the same time behind.
	settle = 3 * time.Second
	// maxFile bounds the file, in bytes.
	maxFile = 64 << 20
)

// File follows a user file. Whatever happens to the file, the last good version stays in force;
// what is wrong is logged once for each change, with the line. Safe for concurrent use.
type File struct {
	path    string
	log     zerolog.Logger
	current atomic.Pointer[Set]
	stop    chan struct{}
	done    chan struct{}
	close   sync.Once

	mu      sync.Mutex
	seen    os.FileInfo // of the last look; nil when the file was missing
	settled bool        // seen can be believed
	content []byte      // last taken up, good or bad
	next    []byte      // what the last look found instead; nil: nothing
	missing bool        // since content was taken up
}

// Open reads the file and follows it until Close. A missing file has no users yet, and a warning
// says so; a bad one is an error (*InvalidError), so that a gateway nobody can log in to does not start.
func Open(path string, log zerolog.Logger) (*File, error) {
	f := &File{path: path, log: log, stop: make(chan struct{}), done: make(chan struct{})}
	f.current.Store(new(Set))
	info, data, err := readFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		f.missing = true
		log.Warn().Str("path", path).Msg("the user file does not exist: nobody can log in; add a user with: gatehouse users add --file " + path)
	case err != nil:
		return nil, fmt.Errorf("the user file cannot be read: %w", err)
	default:
		set, err := Parse(data)
		if err != nil {
			return nil, withPath(err, path)
		}
		if set.Len() == 0 {
			log.Warn().Str("path", path).Msg("the user file holds no users: nobody can log in; add a user with: gatehouse users add --file " + path)
		}
		f.current.Store(set)
		f.remember(info)
		f.content = data
	}
	go f.poll()
	return f, nil
}

// Users is the last good version of the file.
func (f *File) Users() *Set { return f.current.Load() }

// Close stops following the file.
func (f *File) Close() error {
	f.close.Do(func() { close(f.stop) })
	<-f.done
	return nil
}

func (f *File) poll() {
	defer close(f.done)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		select {
		case <-f.stop:
			return
		case <-ticker.C:
			f.Refresh()
		}
	}
}

// Refresh looks at the file now. It is called every second. A change counts once two looks in a row have found the same: a file
// that is written bit by bit has fewer users for a moment, or one who is not disabled yet, and the sessions of those it lacks
// would end. A program that pauses for longer while it writes should write another file and rename it.
func (f *File) Refresh() {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err == nil && f.next == nil && f.settled && unchanged(f.seen, info) {
		return
	}
	info, data, err := readFile(f.path)
	if err != nil {
		f.unreadable(err)
		return
	}
	f.remember(info)
	switch {
	case !f.missing && bytes.Equal(data, f.content):
		f.next = nil
	case f.next == nil || !bytes.Equal(data, f.next):
		f.next = data
	default:
		f.content, f.next, f.missing = data, nil, false
		f.take(data)
	}
}

// unreadable keeps the users there are and says so, once.
func (f *File) unreadable(err error) {
	if !f.missing {
		f.log.Warn().Str("path", f.path).Err(err).Int("users", f.Users().Len()).
			Msg("the user file cannot be read any more: the users read before stay in force")
	}
	f.missing, f.settled, f.content, f.next = true, false, nil, nil
}

// take puts a new content in force if it is a good one.
func (f *File) take(data []byte) {
	set, err := Parse(data)
	if err != nil {
		f.log.Error().Str("path", f.path).Err(withPath(err, f.path)).Int("users", f.Users().Len()).
			Msg("the user file is wrong: the users read before stay in force")
		return
	}
	// Editors and shells empty a file before they write it. Who means it writes users: [].
	if f.Users().Len() > 0 && len(bytes.TrimSpace(data)) == 0 {
		f.log.Warn().Str("path", f.path).Int("users", f.Users().Len()).
			Msg("the user file is empty: the users read before stay in force; to have none write users: []")
		return
	}
	f.current.Store(set)
	f.log.Info().Str("path", f.path).Int("users", set.Len()).Msg("the user file was read")
}

func (f *File) remember(info os.FileInfo) {
	f.seen = info
	f.settled = time.Since(info.ModTime()) > settle
}

// unchanged reports whether two looks saw the same file.
func unchanged(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// readFile gives a file with the facts about just that file: path may be replaced in between.
func readFile(path string) (os.FileInfo, []byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is no regular file", path)
	}
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1)) // never nil, also of an empty file
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxFile)
	}
	return info, data, err
}

// withPath puts the file's path into what Parse says.
func withPath(err error, path string) error {
	var invalid *InvalidError
	if errors.As(err, &invalid) {
		return &InvalidError{Path: path, Problems: invalid.Problems}
	}
	return err
}
