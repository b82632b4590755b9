// Gatehouse is a reverse-proxy authentication gateway: it stands in front of a web application that
// already exists, takes over login and logout, keeps sessions in Redis, and tells the application
// who is calling with X-User-* headers.
package main

import (
	"os"

	"gatehouse/command"
)

func main() { os.Exit(command.Execute(os.Args[1:])) }
