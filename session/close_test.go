package session_test

import (
	"context"
	"testing"
	"time"

	"gatehouse/config"
	"gatehouse/internal/testredis"
	"gatehouse/session"
)

// The library keeps a connection that comes to be while its client is closed, with its goroutines and its place among
// Redis's clients, for as long as the process lives. A gateway closes a client each time it changes to another master.
func TestClosedClientKeepsNoConnection(t *testing.T) {
	t.Parallel()
	server := testredis.Start(t)
	between := newSwitch(t, server.Addr)
	client, err := session.Connect(config.Redis{Addresses: []string{between.addr}, Timeout: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	server.Stop() // it takes connections and says nothing
	before := between.accepted.Load()
	between.cut()
	asked := make(chan struct{})
	go func() {
		defer close(asked)
		for between.accepted.Load() == before { // it may take a question to find out that the connection is gone
			client.Do(context.Background(), client.B().Ping().Build())
		}
	}()
	await(t, "the client to connect again", func() bool { return between.accepted.Load() > before })
	client.Close()
	server.Cont()
	<-asked
	await(t, "the connections to be gone", func() bool { return between.open.Load() == 0 })
}
