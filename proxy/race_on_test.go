//go:build race

package proxy

// raceEnabled: built with the race detector.
const raceEnabled = true
