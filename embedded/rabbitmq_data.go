package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ErrNoRabbitMQ is returned, wrapped, where this machine has no RabbitMQ server.
// Its text says what to install.
var ErrNoRabbitMQ = errors.New("install the RabbitMQ server (Debian: apt-get install --no-install-recommends rabbitmq-server; Fedora: dnf install rabbitmq-server)")

const (
	rabbitPasswordFile   = "administrator-password"
	rabbitPortFile       = "port"
	rabbitManagementFile = "management-port"
	rabbitConfigFile     = "rabbitmq.conf"
	rabbitPluginsFile    = "enabled_plugins"
	rabbitCookieFile     = ".erlang.cookie" // below HOME; Erlang knows no other place
	rabbitDataFolder     = "data"
	rabbitMadeFile       = "made" // there once the data is complete
	rabbitLog            = "rabbitmq.log"
)

// rabbitBinaries are the programs of a RabbitMQ server.
type rabbitBinaries struct {
	server string
	mapper string // Erlang's port mapper, epmd
}

// findRabbitMQ finds the server's own start script. The one in PATH is a
// wrapper of the distribution's that insists on its own user and folder.
func findRabbitMQ() (rabbitBinaries, error) {
	var found rabbitBinaries
	for _, pattern := range []string{
		"/usr/lib/rabbitmq/bin/rabbitmq-server",
		"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
		"/opt/rabbitmq/sbin/rabbitmq-server",
	} {
		if scripts, _ := filepath.Glob(pattern); len(scripts) > 0 { // fails for a bad pattern only
			found.server = slices.Max(scripts)
			break
		}
	}
	if found.server == "" {
		return found, fmt.Errorf("no RabbitMQ server found: %w", ErrNoRabbitMQ)
	}
	var err error
	if found.mapper, err = exec.LookPath("epmd"); err != nil {
		return found, fmt.Errorf("RabbitMQ is installed and Erlang's epmd is not in PATH: %w", ErrNoRabbitMQ)
	}
	return found, nil
}

// initialise fills the folder where that has not been done.
func (s *RabbitMQ) initialise(ctx context.Context, o RabbitMQOptions) error {
	password, err := s.keptSecret(rabbitPasswordFile)
	if err != nil {
		return err
	}
	s.password = password
	if _, err := s.keptSecret(rabbitCookieFile); err != nil {
		return err
	}
	if s.port, err = s.keptPort(ctx, rabbitPortFile, o.Port); err != nil {
		return err
	}
	if s.management, err = s.keptPort(ctx, rabbitManagementFile, o.ManagementPort); err != nil {
		return err
	}
	if err := s.makeData(); err != nil {
		return err
	}
	if err := s.folder.writeFile(rabbitPluginsFile, []byte("[rabbitmq_management].\n")); err != nil {
		return err
	}
	return s.folder.writeFile(rabbitConfigFile, []byte(s.config()))
}

// makeData makes the data folder. A server makes its administrator in an empty
// one only, so what a first start has left half-made is thrown away.
func (s *RabbitMQ) makeData() error {
	made, err := s.folder.readFile(rabbitMadeFile)
	if err != nil || made != nil {
		return err
	}
	if err := os.RemoveAll(s.folder.path(rabbitDataFolder)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	return s.folder.makeDir(rabbitDataFolder)
}

// config is the server's configuration. The user in it is made at the first
// start only.
func (s *RabbitMQ) config() string {
	return strings.Join([]string{
		"listeners.tcp.1 = " + loopback + ":" + strconv.Itoa(s.port),
		"management.tcp.ip = " + loopback,
		"management.tcp.port = " + strconv.Itoa(s.management),
		"default_user = " + rabbitAdministrator,
		"default_pass = " + s.password,
		"default_user_tags.administrator = true",
		"log.file = false",
		"log.console = true",
		"log.console.level = warning",
		"",
	}, "\n")
}

// keptSecret returns the secret in a file, which is made where it is missing.
func (s *RabbitMQ) keptSecret(name string) (string, error) {
	kept, err := s.folder.readFile(name)
	if err != nil || len(kept) > 0 {
		return string(kept), err
	}
	secret := newPassword()
	return secret, s.folder.writeFile(name, []byte(secret))
}

// keptPort returns the port to listen on, and keeps it for the next start.
func (s *RabbitMQ) keptPort(ctx context.Context, name string, wanted int) (int, error) {
	kept, err := s.folder.readFile(name)
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
		err = awaitPort(ctx, port)
	}
	if err != nil {
		return 0, fmt.Errorf("%w (`ss -ltnp` shows whose it is); free it, name another one, or remove %s to have one chosen", err, s.folder.path(name))
	}
	return port, s.folder.writeFile(name, []byte(strconv.Itoa(port)))
}

// awaitPort gives the kernel a moment to close the ports of a server that was
// killed just now.
func awaitPort(ctx context.Context, port int) error {
	patience, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	for {
		err := tryPort(ctx, port)
		if err == nil {
			return nil
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-patience.Done():
			return err
		}
	}
}
