// Package hashing checks passwords in a process beside the gateway's, at a lower priority. A password hash is tens of
// milliseconds of a core and 19 MiB by design. Within the gateway, as many of them as there are cores leave requests
// waiting for Go's scheduler, and each is a collection of garbage; a process of its own takes only what requests leave
// over, so that a flood of logins costs those who are logged in next to nothing (L05).
package hashing

import (
	"encoding/gob"
	"errors"
	"io"
	"os/exec"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"gatehouse/login/password"
)

const (
	// patience is how long one answer may take: hashes take some seconds at most, and three times that on a busy machine.
	patience = 30 * time.Second
	// startEvery bounds how often a process is started that ends again.
	startEvery = time.Second
)

var errSilent = errors.New("it did not answer")

// question is a password to compare with a hash, or without one to hash. It crosses a pipe that only the two
// processes have.
type question struct {
	ID             uint64
	Password, Hash string
}

// answer is to the question of the same ID.
type answer struct {
	ID      uint64
	Matches bool
	Hash    string
}

// Worker is the process. While there is none, because it cannot be started or has ended, the gateway hashes
// by itself. It is safe for concurrent use; the zero value and nil always hash here.
type Worker struct {
	// command makes what runs Serve.
	command func() *exec.Cmd
	log     zerolog.Logger
	every   time.Duration // startEvery

	mu      sync.Mutex
	process *process
	started time.Time
	closed  bool
}

// process is a running one.
type process struct {
	in      io.WriteCloser
	encoder *gob.Encoder
	cmd     *exec.Cmd
	last    uint64
	waiting map[uint64]chan answer
	gone    chan struct{}
}

// New makes a Worker that runs command, which must call [Serve], from the first password on.
func New(command func() *exec.Cmd, log zerolog.Logger) *Worker {
	return &Worker{command: command, log: log, every: startEvery}
}

// Matches is h.Matches(typed).
func (w *Worker) Matches(h password.Hash, typed string) bool {
	text := h.Text()
	if text == "" {
		return h.Matches(typed)
	}
	if a, ok := w.ask(question{Password: typed, Hash: text}); ok {
		return a.Matches && !h.IsDecoy()
	}
	return h.Matches(typed)
}

// Hash is a new hash of typed, with [password.Default].
func (w *Worker) Hash(typed string) string {
	if a, ok := w.ask(question{Password: typed}); ok && a.Hash != "" {
		return a.Hash
	}
	return password.New(typed, password.Default())
}

// ask gives false when there is nobody to answer.
func (w *Worker) ask(q question) (answer, bool) {
	if w == nil || w.command == nil {
		return answer{}, false
	}
	p, heard, err := w.send(q)
	if err != nil {
		return answer{}, false
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case a, ok := <-heard:
		return a, ok
	case <-timer.C:
		_ = p.cmd.Process.Kill() // receive notices its end
		return answer{}, false
	}
}

func (w *Worker) send(q question) (*process, chan answer, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil, nil, errSilent
	}
	if w.process == nil {
		if time.Since(w.started) < w.every {
			return nil, nil, errSilent
		}
		w.started = time.Now()
		if err := w.start(); err != nil {
			w.log.Warn().Err(err).Msg("passwords are checked in the gateway itself, at the priority of requests: the process for it cannot be started")
			return nil, nil, err
		}
	}
	p := w.process
	p.last++
	q.ID = p.last
	heard := make(chan answer, 1)
	p.waiting[q.ID] = heard
	// A process that has stopped reading would keep everybody here.
	stuck := time.AfterFunc(patience, func() { _ = p.cmd.Process.Kill() })
	defer stuck.Stop()
	if err := p.encoder.Encode(q); err != nil {
		delete(p.waiting, q.ID)
		return nil, nil, err
	}
	return p, heard, nil
}

// start begins a process. w.mu is held.
func (w *Worker) start() error {
	cmd := w.command()
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := startLow(cmd); err != nil {
		return err
	}
	p := &process{in: in, encoder: gob.NewEncoder(in), cmd: cmd, waiting: make(map[uint64]chan answer), gone: make(chan struct{})}
	w.process = p
	go w.receive(p, out)
	return nil
}

// receive hands the answers out until the process ends. Who waits for another then is told that none will come.
func (w *Worker) receive(p *process, out io.Reader) {
	defer close(p.gone)
	for decoder := gob.NewDecoder(out); ; {
		var a answer
		if decoder.Decode(&a) != nil {
			break
		}
		w.mu.Lock()
		if heard := p.waiting[a.ID]; heard != nil {
			heard <- a
			delete(p.waiting, a.ID)
		}
		w.mu.Unlock()
	}
	_ = p.in.Close()
	_ = p.cmd.Process.Kill()
	err := p.cmd.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.log.Warn().Err(err).Msg("the process that checks passwords has ended; another is started with the next login")
	}
	w.process = nil
	for _, heard := range p.waiting {
		close(heard)
	}
	p.waiting = nil
}

// Close ends the process and waits for its end.
func (w *Worker) Close() error {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	w.closed = true
	p := w.process
	w.mu.Unlock()
	if p != nil {
		_ = p.in.Close()
		<-p.gone
	}
	return nil
}

// Serve is the process's side: it answers what comes in, all at once, until in ends. The asker bounds how much that is.
func Serve(in io.Reader, out io.Writer) error {
	var mu sync.Mutex
	encoder := gob.NewEncoder(out)
	for decoder := gob.NewDecoder(in); ; {
		var q question
		switch err := decoder.Decode(&q); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		go func() {
			a := q.answer()
			mu.Lock()
			defer mu.Unlock()
			_ = encoder.Encode(a) // an asker that is gone closes in as well
		}()
	}
}

func (q question) answer() answer {
	if q.Hash == "" {
		return answer{ID: q.ID, Hash: password.New(q.Password, password.Default())}
	}
	h, err := password.Parse(q.Hash)
	return answer{ID: q.ID, Matches: err == nil && h.Matches(q.Password)}
}
