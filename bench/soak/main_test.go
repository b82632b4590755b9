// Package soak runs two gateways, a real Redis that is killed and halted again and again, and an application that
// says whom it sees, for as long as wanted: does anything grow, and does anybody ever see another's identity?
// `make soak` runs it for 20 minutes; without flags it is ten seconds that check the program itself. It is a test
// so that it may start servers as tests do, and so that nothing of it can get into the binary.
package soak

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/testredis"

	// Built below: `go test` must know that this depends on it.
	_ "gatehouse/command"
)

var (
	duration   = flag.Duration("duration", 10*time.Second, "how long it runs")
	visitors   = flag.Int("visitors", 500, "people with a session")
	rate       = flag.Int("rate", 300, "requests a second, over all of them")
	faultEvery = flag.Duration("fault-every", 0, "time between two faults of Redis; 0: a minute, or half of a short run")
	sample     = flag.Duration("sample", 0, "time between two looks at the gateways; 0: 5s, or a twentieth of a short run")
)

// binary is the gateway, built once.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "gatehouse-soak-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "gatehouse")
	if out, err := exec.Command("go", "build", "-o", binary, "gatehouse").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the gateway: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

func TestSoak(t *testing.T) {
	redis := testredis.Start(t, testredis.Persistent())
	app := startApp(t)
	var gateways []*gateway
	for i := range 2 {
		gateways = append(gateways, startGateway(t, fmt.Sprint("gateway ", i+1), app, redis.Addr, usersFile(users(*visitors))))
	}
	c := newCrowd(t, gateways, redis.Addr, *visitors)
	ctx, cancel := context.WithTimeout(t.Context(), *duration)
	defer cancel()
	var samples [][]reading
	faults := 0
	var all sync.WaitGroup
	all.Go(func() { c.run(ctx, *rate) })
	all.Go(func() { faults = hurt(ctx, redis, orElse(*faultEvery, time.Minute, *duration/2)) })
	all.Go(func() { samples = watch(ctx, t, gateways, orElse(*sample, 5*time.Second, *duration/20)) })
	all.Wait()

	fmt.Printf("%v, %d visitors, %d faults of Redis\n\n%s\n", *duration, *visitors, faults, c.counts.table())
	lines, flat := judge(gateways, samples)
	fmt.Println(lines)
	for _, v := range c.violations() {
		t.Error(v)
	}
	if faults == 0 {
		t.Error("Redis was left alone: this shows nothing")
	}
	if c.counts.get(served) == 0 {
		t.Error("nobody was served: this shows nothing")
	}
	if *duration < judged {
		fmt.Printf("shorter than %v: whether it is flat is not judged\n", judged)
	} else if !flat {
		t.Error("not flat")
	}
}

// orElse gives what was set, or the usual, or less in a short run.
func orElse(set, usual, short time.Duration) time.Duration {
	if set > 0 {
		return set
	}
	return min(usual, short)
}

// The ways in which Redis is hurt.
const (
	deadFor   = time.Second
	haltedFor = 2 * time.Second
)

// hurt kills Redis (SIGKILL) and starts it again, and every third time halts it (SIGSTOP) instead, until ctx ends.
// It gives how often, and leaves it running.
func hurt(ctx context.Context, redis *testredis.Server, every time.Duration) (faults int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return faults
		case <-tick.C:
		}
		if faults++; faults%3 == 0 {
			redis.Stop()
			pause(ctx, haltedFor)
			redis.Cont()
			continue
		}
		redis.Kill()
		pause(ctx, deadFor)
		redis.Restart()
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
