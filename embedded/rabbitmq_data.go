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
)

// ErrNoRabbitMQ is returned, wrapped, where this machine has no RabbitMQ server.
// Its text says what to install.
var ErrNoRabbitMQ = errors.New("install the RabbitMQ server (Debian: apt-get install --no-install-recommends rabbitmq-server; Fedora: dnf install rabbitmq-server)")

const (
	rabbitPasswordFile   = "administrator-password"
	rabbitManagementFile = "management-port"
	rabbitConfigFile     = "rabbitmq.conf"
	rabbitPluginsFile    = "enabled_plugins"
	rabbitCookieFile     = ".erlang.cookie" // below HOME; Erlang knows no other place
	rabbitMadeFile       = "made"           // there once the data is complete
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

// fill fills the folder where that has not been done.
func (s *RabbitMQ) fill(ctx context.Context) (err error) {
	if s.binaries, err = findRabbitMQ(); err != nil {
		return err
	}
	if s.password, err = s.folder.keptSecret(rabbitPasswordFile); err != nil {
		return err
	}
	if _, err := s.folder.keptSecret(rabbitCookieFile); err != nil {
		return err
	}
	if s.port, err = s.folder.keptPort(ctx, portFile, s.options.Port, tryTCP); err != nil {
		return err
	}
	if s.management, err = s.folder.keptPort(ctx, rabbitManagementFile, s.options.ManagementPort, tryTCP); err != nil {
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
	if err := os.RemoveAll(s.folder.path(dataFolder)); err != nil {
		return fmt.Errorf("remove a half-made data folder: %w", err)
	}
	return s.folder.makeDir(dataFolder)
}

// RabbitMQFrameMax is the size of the largest frame, in bytes: that of catalog.yml.
const RabbitMQFrameMax = 16384

// config is the server's configuration. The user in it is made at the first
// start only.
func (s *RabbitMQ) config() string {
	return strings.Join([]string{
		"listeners.tcp.1 = " + loopback + ":" + strconv.Itoa(s.port),
		"management.tcp.ip = " + loopback,
		"management.tcp.port = " + strconv.Itoa(s.management),
		// What the backend asks of a server that tenants share: headers of a
		// message are as large as a frame, and queues do not count them.
		"frame_max = " + strconv.Itoa(RabbitMQFrameMax),
		"max_message_size = 16777216",
		"default_user = " + rabbitAdministrator,
		"default_pass = " + s.password,
		"default_user_tags.administrator = true",
		"log.file = false",
		"log.console = true",
		"log.console.level = warning",
		"",
	}, "\n")
}
