package embedded

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// prepare starts the port mapper, which the server registers with.
func (s *RabbitMQ) prepare(ctx context.Context) (err error) {
	s.folder.release(s.mapperPort)
	s.folder.release(s.clusterPort)
	if s.mapperPort, err = freePort(ctx, s.folder.reserving("port mapper", tryTCP)); err != nil {
		return err
	}
	if s.mapper, err = startProcess(s.mapperProgram()); err != nil {
		return err
	}
	err = s.mapper.await(ctx, func(ctx context.Context) bool { return listens(ctx, localAddress(s.mapperPort)) })
	if err != nil {
		return err
	}
	s.clusterPort, err = freePort(ctx, s.folder.reserving("cluster", tryTCP))
	return err
}

func (s *RabbitMQ) endMapper() {
	if s.mapper != nil {
		s.mapper.kill()
		s.mapper = nil
	}
}

// serving marks the data as complete: the server has made its administrator.
func (s *RabbitMQ) serving(ctx context.Context) error {
	s.logger.InfoContext(ctx, "queue server started", "folder", s.folder.root, "port", s.port, "management_port", s.management)
	return s.folder.writeFile(rabbitMadeFile, []byte("by chandler\n"))
}

func (s *RabbitMQ) mapperProgram() program {
	return program{
		path: s.binaries.mapper, args: []string{"-port", strconv.Itoa(s.mapperPort), "-address", loopback},
		folder: s.folder, log: "epmd.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	}
}

// program is the server's start script, told to become the server instead
// of watching over it, so that the child is the server.
func (s *RabbitMQ) program() program {
	in := s.childPath
	return program{
		path: s.binaries.server,
		args: []string{"-noinput", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"},
		env: []string{
			"RABBITMQ_ALLOW_INPUT=true", // makes the script exec the server
			"RABBITMQ_NODENAME=chandler@localhost",
			"RABBITMQ_DIST_PORT=" + strconv.Itoa(s.clusterPort),
			"ERL_EPMD_PORT=" + strconv.Itoa(s.mapperPort),
			"ERL_EPMD_ADDRESS=" + loopback,
			"HOME=" + in(""),
			"RABBITMQ_MNESIA_BASE=" + in(dataFolder),
			"RABBITMQ_LOG_BASE=" + in(""),
			"RABBITMQ_LOGS=-",
			"ERL_CRASH_DUMP=/dev/null", // it would hold secrets
			"RABBITMQ_CONFIG_FILE=" + in(rabbitConfigFile),
			"RABBITMQ_ENABLED_PLUGINS_FILE=" + in(rabbitPluginsFile),
			"RABBITMQ_SCHEMA_DIR=" + in(dataFolder+"/schema"),
			"RABBITMQ_GENERATED_CONFIG_DIR=" + in(dataFolder+"/config"),
			// What the machine configures is meant for another server.
			"RABBITMQ_CONF_ENV_FILE=" + in("none.env"),
			"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("none.config"),
			"RABBITMQ_CONFIG_FILES=" + in("none.d"),
		},
		folder: s.folder, log: rabbitLog,
		polite: syscall.SIGTERM,
		// What it confirmed is on disk, but for a queue declared in its last
		// moments. An end in order takes seconds, in which it would be nobody's.
		orphaned: syscall.SIGKILL,
	}
}

// plainPath is what the server's shell scripts can handle.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]*$`)

// childPath is where name is for the server. Through the file descriptor, which
// has a plain name always, it cannot measure the free space of the disk: df, the
// program that it runs for this, does not inherit it.
func (s *RabbitMQ) childPath(name string) string {
	if path := s.folder.childPath(name); plainPath.MatchString(path) {
		return path
	}
	return filepath.Join("/proc/self/fd/3", name)
}

func listens(ctx context.Context, address string) bool {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// ready asks the management API, which comes up first, whether the port for
// applications is open. What answers knows the administrator's password, so it
// is this server.
func (s *RabbitMQ) ready(ctx context.Context, _ int) bool {
	where := "http://" + localAddress(s.management) + "/api/health/checks/port-listener/" + strconv.Itoa(s.port)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return false
	}
	request.SetBasicAuth(rabbitAdministrator, s.password)
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}
