// Command victim goes through two points and says how far it has come.
package main

import (
	"fmt"
	"os"

	"gatehouse/internal/fault"
)

func main() {
	fmt.Printf("environment %q\n", os.Getenv("GATEHOUSE_FAULT"))
	for i := range 3 {
		fault.Point("create.before")
		fmt.Println("create", i)
		fault.Point("revoke.before")
		fmt.Println("revoke", i)
	}
}
