package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"time"
)

const (
	dataFolder = "data"
	freshData  = "data.new"
)

// hasData says whether the server's data is complete.
func (f *folder) hasData() (bool, error) {
	_, err := os.Stat(f.path(dataFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find the data folder: %w", err)
	}
	return true, nil
}

// makeData has fill fill the folder freshData, unless the data exists. The folder gets
// its name last, so that a crash never leaves half of the data as all of it.
func (f *folder) makeData(ctx context.Context, fill func(context.Context) error) error {
	if exists, err := f.hasData(); err != nil || exists {
		return err
	}
	if err := f.emptyDir(freshData); err != nil {
		return err
	}
	if err := fill(ctx); err != nil {
		return err
	}
	if err := os.Rename(f.path(freshData), f.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

// storedSecret returns the secret in a file of the folder, or at the first start a
// generated one, which it writes there.
func (f *folder) storedSecret(name string, generate func() string) (string, error) {
	stored, err := f.readFile(name)
	if err != nil || len(stored) > 0 {
		return string(stored), err
	}
	secret := generate()
	return secret, f.writeFile(name, []byte(secret))
}

const (
	loopback = "127.0.0.1"
	portFile = "port"
)

// storedPort returns the port in a file of the folder, or at the first start a free
// one, which it writes there. try says whether the server can listen on a port.
func (f *folder) storedPort(ctx context.Context, file string, try func(context.Context, int) error) (int, error) {
	stored, err := f.readFile(file)
	if err != nil {
		return 0, err
	}
	try = f.reserving(file, try)
	port := firstNumber(string(stored))
	if port == 0 {
		port, err = freePort(ctx, try)
	} else {
		err = waitPort(ctx, port, try)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -lntup` shows which process uses it); stop that process, or remove %s to get another port", err, f.path(file))
	}
	return port, f.writeFile(file, []byte(strconv.Itoa(port)))
}

// reservation is a port that a server has for one purpose.
type reservation struct {
	purpose string
	mark    net.Listener
}

// reserving extends try: until the folder is closed, no other server of this package,
// in this process or another, gets the port. A server listens only seconds after its
// port was chosen.
func (f *folder) reserving(purpose string, try func(context.Context, int) error) func(context.Context, int) error {
	return func(ctx context.Context, port int) error {
		have, reserved := f.ports[port]
		if reserved && have.purpose != purpose {
			return fmt.Errorf("port %d cannot be listened on: this server uses it for something else", port)
		}
		if !reserved {
			// A name in the abstract namespace disappears with the process, and belongs to
			// the network namespace, as the port does (unix(7)).
			var config net.ListenConfig
			mark, err := config.Listen(ctx, "unix", fmt.Sprintf("@chandler/port/%d", port))
			if err != nil {
				return fmt.Errorf("port %d cannot be listened on: another server that chandler runs has it: %w", port, err)
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

// release ends a port's reservation, if it has one.
func (f *folder) release(port int) {
	if have, reserved := f.ports[port]; reserved {
		_ = have.mark.Close()
		delete(f.ports, port)
	}
}

// freePort returns a port that nobody listens on. It is below the ports that the
// system gives to outgoing connections, so that it is still free at the next start.
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

// waitPort gives the kernel a moment to close the ports of a server that was just killed.
func waitPort(ctx context.Context, port int, try func(context.Context, int) error) (err error) {
	patience, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = poll(patience, func() bool { // err says more than the end of patience
		err = try(ctx, port)
		return err == nil
	})
	return err
}

// tryTCP returns an error if a TCP port of loopback cannot be listened on.
func tryTCP(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", localAddress(port))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return l.Close()
}

func localAddress(port int) string { return net.JoinHostPort(loopback, strconv.Itoa(port)) }

// listens says whether something accepts TCP connections at an address.
func listens(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}
