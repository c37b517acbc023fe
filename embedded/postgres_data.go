package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
)

const (
	dataFolder = "data"
	freshData  = "data.new"
	pidFile    = dataFolder + "/postmaster.pid"
)

// initialise fills the folder where that has not been done to the end, and
// finds the programs that fit the data.
func (s *Postgres) initialise(ctx context.Context) error {
	version, err := s.folder.readFile(dataFolder + "/PG_VERSION")
	if err != nil {
		return err
	}
	if s.binaries, err = findPostgres(ctx, firstNumber(string(version))); err != nil {
		return err
	}
	if version != nil {
		return nil
	}
	if err := s.folder.writeFile(passwordFile, []byte(newPassword())); err != nil {
		return err
	}
	// Made under another name first: what a crash leaves half-made is not
	// taken for data.
	if err := os.RemoveAll(s.folder.path(freshData)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	if err := s.folder.makeDir(freshData); err != nil {
		return err
	}
	if err := s.initdb(ctx); err != nil {
		return err
	}
	if err := os.Rename(s.folder.path(freshData), s.folder.path(dataFolder)); err != nil {
		return fmt.Errorf("put the new data folder in place: %w", err)
	}
	return nil
}

func (s *Postgres) initdb(ctx context.Context) error {
	args := []string{
		"--pgdata=" + s.folder.childPath(freshData), "--username=" + superuser,
		"--pwfile=" + s.folder.childPath(passwordFile), "--auth=scram-sha-256",
		"--encoding=UTF8", "--locale=C.UTF-8",
	}
	if s.noSync {
		args = append(args, "--no-sync")
	}
	return runProcess(ctx, program{
		path: s.binaries.path("initdb"), args: args, folder: s.folder, log: "initdb.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	})
}

// choosePort returns the port to listen on, and keeps it for the next start.
func (s *Postgres) choosePort(ctx context.Context, wanted int) (int, error) {
	kept, err := s.folder.readFile(portFile)
	if err != nil {
		return 0, err
	}
	port := wanted
	if port == 0 {
		port = firstNumber(string(kept))
	}
	if port == 0 {
		port, err = freePort(ctx)
	} else {
		err = tryPort(ctx, port)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -ltnp` shows whose it is); free it, name another one, or remove %s to have one chosen", err, s.folder.path(portFile))
	}
	return port, s.folder.writeFile(portFile, []byte(strconv.Itoa(port)))
}

// freePort returns a port that nobody listens on, below those that the system
// hands out to outgoing connections, so that it is still free at the next
// start.
func freePort(ctx context.Context) (int, error) {
	var err error
	for range 100 {
		port := 20000 + rand.IntN(10000)
		if err = tryPort(ctx, port); err == nil {
			return port, nil
		}
	}
	return 0, err
}

func tryPort(ctx context.Context, port int) error {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", net.JoinHostPort(loopback, strconv.Itoa(port)))
	if err != nil {
		return fmt.Errorf("port %d cannot be listened on: %w", port, err)
	}
	return l.Close()
}

func removeFile(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", filepath.Base(path), err)
	}
	return nil
}
