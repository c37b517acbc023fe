// Command worker is a sandbox's worker, for tests.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/chandler-broker/chandler/functions/sandbox"
)

func main() {
	if err := sandbox.Worker(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
