package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
)

// ErrNoRabbitMQ says that this machine has no RabbitMQ server, and what to install.
var ErrNoRabbitMQ = errors.New("install the RabbitMQ server (Debian: apt-get install --no-install-recommends rabbitmq-server; Fedora: dnf install rabbitmq-server)")

const (
	rabbitPasswordFile   = "administrator-password"
	rabbitManagementFile = "management-port"
	rabbitConfigFile     = "rabbitmq.conf"
	rabbitPluginsFile    = "enabled_plugins"
	rabbitCookieFile     = ".erlang.cookie" // below HOME, where Erlang looks for it
	rabbitMadeFile       = "made"           // exists once the data is complete
	rabbitLog            = "rabbitmq.log"
)

// rabbitBinaries are the programs of a RabbitMQ server.
type rabbitBinaries struct {
	server string
	mapper string // Erlang's port mapper, epmd
}

// findRabbitMQ finds the server's own start script. That in PATH is the distribution's
// wrapper, which accepts only its own user and folder.
func findRabbitMQ() (found rabbitBinaries, err error) {
	found.server = findFile(
		"/usr/lib/rabbitmq/bin/rabbitmq-server",
		"/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server",
		"/opt/rabbitmq/sbin/rabbitmq-server",
	)
	if found.server == "" {
		return found, fmt.Errorf("no RabbitMQ server found: %w", ErrNoRabbitMQ)
	}
	if found.mapper, err = exec.LookPath("epmd"); err != nil {
		return found, fmt.Errorf("RabbitMQ is installed, but Erlang's epmd is not in PATH: %w", ErrNoRabbitMQ)
	}
	return found, nil
}

func (s *RabbitMQ) fill(ctx context.Context) (err error) {
	if s.binaries, err = findRabbitMQ(); err != nil {
		return err
	}
	if s.password, err = s.folder.storedSecret(rabbitPasswordFile, rand.Text); err != nil {
		return err
	}
	if _, err := s.folder.storedSecret(rabbitCookieFile, rand.Text); err != nil {
		return err
	}
	if s.management, err = s.folder.storedPort(ctx, rabbitManagementFile, tryTCP); err != nil {
		return err
	}
	if err := s.makeData(); err != nil {
		return err
	}
	return s.folder.writeFiles(map[string][]byte{
		rabbitPluginsFile: []byte("[rabbitmq_management].\n"), rabbitConfigFile: []byte(s.config()),
	})
}

// makeData makes the data folder, and removes that of an incomplete first start: a server
// makes its administrator only in an empty folder.
func (s *RabbitMQ) makeData() error {
	made, err := s.folder.readFile(rabbitMadeFile)
	if err != nil || made != nil {
		return err
	}
	return s.folder.emptyDir(dataFolder)
}

// RabbitMQFrameMax is the size of the largest frame, in bytes, as in catalog.yml.
const RabbitMQFrameMax = 16384

// config is the server's configuration. The server makes the user in it only at the first
// start.
func (s *RabbitMQ) config() string {
	return strings.Join([]string{
		"listeners.tcp.1 = " + loopback + ":" + strconv.Itoa(s.port),
		"management.tcp.ip = " + loopback,
		"management.tcp.port = " + strconv.Itoa(s.management),
		// What the backend requires of a server that tenants share: the headers of a
		// message may fill a frame, and queues do not count them.
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
