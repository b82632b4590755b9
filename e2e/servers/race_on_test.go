//go:build apps && race

package servers

// raceEnabled: the gateway under test is built with the race detector too.
const raceEnabled = true
