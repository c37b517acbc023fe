package embedded

import (
	"context"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
)

// prepare starts the port mapper, with which the server registers.
func (s *RabbitMQ) prepare(ctx context.Context) (err error) {
	s.folder.release(s.mapperPort)
	s.folder.release(s.clusterPort)
	if s.mapperPort, err = freePort(ctx, s.folder.reserving("port mapper", tryTCP)); err != nil {
		return err
	}
	if s.mapper, err = startProcess(s.folder, s.mapperProgram()); err != nil {
		return err
	}
	err = s.mapper.await(ctx, func(ctx context.Context) bool { return listens(ctx, localAddress(s.mapperPort)) })
	if err != nil {
		return err
	}
	s.clusterPort, err = freePort(ctx, s.folder.reserving("cluster", tryTCP))
	return err
}

// ended ends the port mapper.
func (s *RabbitMQ) ended() {
	if s.mapper != nil {
		s.mapper.kill()
		s.mapper = nil
	}
}

// serving marks the data as complete: the server has made its administrator.
func (s *RabbitMQ) serving(context.Context) error {
	return s.folder.writeFile(rabbitMadeFile, []byte("by chandler\n"))
}

func (s *RabbitMQ) mapperProgram() program {
	return program{path: s.binaries.mapper, args: []string{"-port", strconv.Itoa(s.mapperPort), "-address", loopback}}
}

// program is the server's start script, which replaces itself with the server, so that the
// child is the server. An orderly end when this process dies would take seconds, in which
// nobody owned the server; what it confirmed is on disk, except for a queue declared in its
// last moments.
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
			"ERL_CRASH_DUMP=/dev/null", // it would contain secrets
			"RABBITMQ_CONFIG_FILE=" + in(rabbitConfigFile),
			"RABBITMQ_ENABLED_PLUGINS_FILE=" + in(rabbitPluginsFile),
			"RABBITMQ_SCHEMA_DIR=" + in(dataFolder+"/schema"),
			"RABBITMQ_GENERATED_CONFIG_DIR=" + in(dataFolder+"/config"),
			// The machine's configuration is for another server.
			"RABBITMQ_CONF_ENV_FILE=" + in("none.env"),
			"RABBITMQ_ADVANCED_CONFIG_FILE=" + in("none.config"),
			"RABBITMQ_CONFIG_FILES=" + in("none.d"),
		},
		log: rabbitLog,
	}
}

// plainPath matches the paths that the server's shell scripts can handle.
var plainPath = regexp.MustCompile(`^[A-Za-z0-9/._-]*$`)

// childPath is the path of name for the server. Through the inherited descriptor, whose
// path is always plain, the server cannot measure the free space of the disk: it runs df,
// which does not inherit the descriptor.
func (s *RabbitMQ) childPath(name string) string {
	if path := s.folder.childPath(name); plainPath.MatchString(path) {
		return path
	}
	return filepath.Join(inherited, name)
}

// ready asks the management API, which is up first, whether the port for applications is
// open. A server that accepts the administrator's password is this one.
func (s *RabbitMQ) ready(ctx context.Context, _ int) bool {
	return answersOK(ctx, s.URL()+"/api/health/checks/port-listener/"+strconv.Itoa(s.port), http.Header{})
}
