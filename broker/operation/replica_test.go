package operation_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chandler-broker/chandler/broker/brokertest"
)

// replicaDatabase makes this test binary a replica of a broker in a process of
// its own: one that tests can kill and pause.
const (
	replicaDatabase = "OPERATION_TEST_DATABASE"
	replicaBegins   = "OPERATION_TEST_BEGIN" // what it accepts itself when it is ready
)

// TestReplicaProcess is no test but the replica. It writes a line when it is
// ready and one for each call of its backend, and goes on with the call when it
// reads one.
func TestReplicaProcess(t *testing.T) {
	url := os.Getenv(replicaDatabase)
	if url == "" {
		t.Skip("it is run by other tests")
	}
	in := bufio.NewScanner(os.Stdin)
	b := brokertest.NewBackend()
	b.BeforeCall(func(_ context.Context, verb, id string) error {
		fmt.Println("calls", verb, id)
		if !in.Scan() {
			os.Exit(1) // its parent is gone
		}
		return nil
	})
	h := brokertest.New(t, brokertest.Options{DatabaseURL: url, Backend: b, AsyncWait: time.Nanosecond})
	fmt.Println("ready")
	switch os.Getenv(replicaBegins) {
	case "provision j":
		provision(t, h, "j", brokertest.Small, "")
	case "bind c":
		bind(t, h, "i", "c", brokertest.Cascading)
	case "unbind b":
		unbind(t, h, "i", "b")
	}
	select {}
}

// process is a replica in a process of its own.
type process struct {
	*exec.Cmd
	lines chan string
	input *os.File
}

func startReplica(t *testing.T, url string, begins ...string) *process {
	t.Helper()
	p := &process{Cmd: exec.Command(os.Args[0], "-test.run=^TestReplicaProcess$"), lines: make(chan string, 100)}
	p.Env = append(os.Environ(), replicaDatabase+"="+url, replicaBegins+"="+strings.Join(begins, ""))
	stdin, input, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p.Stdin, p.input = stdin, input
	out, err := p.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	_ = stdin.Close()
	t.Cleanup(func() {
		_ = p.Process.Kill()
		_ = p.Wait()
		_ = input.Close()
	})
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.lines <- lines.Text()
		}
	}()
	return p
}

// says waits until the replica writes the line.
func (p *process) says(t *testing.T, want string) {
	t.Helper()
	over := time.After(40 * time.Second)
	for {
		select {
		case line := <-p.lines:
			if line == want {
				return
			}
		case <-over:
			t.Fatalf("the replica does not say %q", want)
		}
	}
}
