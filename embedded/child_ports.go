package embedded

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"time"
)

const (
	loopback = "127.0.0.1"
	portFile = "port"
)

// keptPort returns the port to listen on, and keeps it in a file of the folder
// for the next start: the one that is wanted, the one of the last start where
// that is 0, a free one at the first. try says whether a port can be listened on.
func (f *folder) keptPort(ctx context.Context, file string, wanted int, try func(context.Context, int) error) (int, error) {
	kept, err := f.readFile(file)
	if err != nil {
		return 0, err
	}
	try = f.reserving(file, try)
	port := wanted
	if port == 0 {
		port = firstNumber(string(kept))
	}
	if port == 0 {
		port, err = freePort(ctx, try)
	} else {
		err = waitPort(ctx, port, try)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -lntup` shows whose it is); free it, name another one, or remove %s to have one chosen", err, f.path(file))
	}
	return port, f.writeFile(file, []byte(strconv.Itoa(port)))
}

// reservation is a port that is some server's, for one purpose of it.
type reservation struct {
	purpose string
	mark    net.Listener
}

// reserving is try, and keeps other servers that are started by this package, by
// this process or another, from choosing the port until the folder is closed:
// between the choice and the server's listening pass seconds.
func (f *folder) reserving(purpose string, try func(context.Context, int) error) func(context.Context, int) error {
	return func(ctx context.Context, port int) error {
		have, reserved := f.ports[port]
		if reserved && have.purpose != purpose {
			return fmt.Errorf("port %d cannot be listened on: it is for something else already", port)
		}
		if !reserved {
			// A name in the abstract namespace, which ends with the process, and with
			// the network namespace that the port is one of (unix(7)).
			var config net.ListenConfig
			mark, err := config.Listen(ctx, "unix", fmt.Sprintf("@chandler/port/%d", port))
			if err != nil {
				return fmt.Errorf("port %d cannot be listened on: it is another server's that chandler runs: %w", port, err)
			}
			if f.ports == nil {
				f.ports = map[int]reservation{}
			}
			f.ports[port] = reservation{purpose, mark}
		}
		err := try(ctx, port)
		if err != nil {
			f.release(port)
		}
		return err
	}
}

// release ends a reservation, if there is one.
func (f *folder) release(port int) {
	if have, reserved := f.ports[port]; reserved {
		_ = have.mark.Close()
		delete(f.ports, port)
	}
}

// freePort returns a port that nobody listens on, below those that the system
// hands out to outgoing connections, so that it is still free at the next
// start.
func freePort(ctx context.Context, try func(context.Context, int) error) (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(10000) //nolint:gosec // no secret
		if err = try(ctx, port); err == nil {
			return port, nil
		}
	}
	return 0, err
}

// waitPort gives the kernel a moment to close the ports of a server that was
// killed just now.
func waitPort(ctx context.Context, port int, try func(context.Context, int) error) error {
	patience, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for {
		err := try(ctx, port)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-patience.Done():
			return err
		}
	}
}

// tryTCP says why a port of loopback cannot be listened on.
func tryTCP(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", localAddress(port))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return l.Close()
}

func localAddress(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }
