package server

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/chandler-broker/chandler/embedded/embeddedtest"
	"github.com/chandler-broker/chandler/services/function/wasm/sandbox"
)

// workerArgument makes this test program a worker of the runtimes under test.
const workerArgument = "functions-worker"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == workerArgument {
		if err := sandbox.Worker(context.Background(), os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	embeddedtest.Main(m)
}
