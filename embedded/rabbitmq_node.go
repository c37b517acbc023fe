package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"
)

// rabbitNode is a running server and the port mapper that Erlang insists on. The
// mapper is a child of ours too: the one that Erlang would start by itself
// outlives everything.
type rabbitNode struct{ mapper, server *process }

// startNode starts the server and waits until it serves applications.
func (s *RabbitMQ) startNode(ctx context.Context) (*rabbitNode, error) {
	mapperPort, err := freePort(ctx)
	if err != nil {
		return nil, err
	}
	node := &rabbitNode{}
	if node.mapper, err = startProcess(s.mapperProgram(mapperPort)); err != nil {
		return nil, err
	}
	if err := s.finishStart(ctx, node, mapperPort); err != nil {
		node.kill()
		return nil, err
	}
	return node, nil
}

func (s *RabbitMQ) finishStart(ctx context.Context, node *rabbitNode, mapperPort int) error {
	address := net.JoinHostPort(loopback, strconv.Itoa(mapperPort))
	err := s.await(ctx, node.mapper, func(ctx context.Context) bool { return listens(ctx, address) })
	if err != nil {
		return err
	}
	clusterPort, err := freePort(ctx)
	if err != nil {
		return err
	}
	if node.server, err = startProcess(s.serverProgram(mapperPort, clusterPort)); err != nil {
		return err
	}
	return s.await(ctx, node.server, s.serves)
}

func (s *RabbitMQ) mapperProgram(port int) program {
	return program{
		path: s.binaries.mapper, args: []string{"-port", strconv.Itoa(port), "-address", loopback},
		folder: s.folder, log: "epmd.log",
		polite: syscall.SIGTERM, orphaned: syscall.SIGKILL,
	}
}

// serverProgram is the server's start script, told to become the server instead
// of watching over it, so that the child is the server.
func (s *RabbitMQ) serverProgram(mapperPort, clusterPort int) program {
	in := s.childPath
	return program{
		path: s.binaries.server,
		args: []string{"-noinput", "-kernel", "inet_dist_use_interface", "{127,0,0,1}"},
		env: []string{
			"RABBITMQ_ALLOW_INPUT=true", // makes the script exec the server
			"RABBITMQ_NODENAME=chandler@localhost",
			"RABBITMQ_DIST_PORT=" + strconv.Itoa(clusterPort),
			"ERL_EPMD_PORT=" + strconv.Itoa(mapperPort),
			"ERL_EPMD_ADDRESS=" + loopback,
			"HOME=" + in(""),
			"RABBITMQ_MNESIA_BASE=" + in(rabbitDataFolder),
			"RABBITMQ_LOG_BASE=" + in(""),
			"RABBITMQ_LOGS=-",
			"ERL_CRASH_DUMP=/dev/null", // it would hold secrets
			"RABBITMQ_CONFIG_FILE=" + in(rabbitConfigFile),
			"RABBITMQ_ENABLED_PLUGINS_FILE=" + in(rabbitPluginsFile),
			"RABBITMQ_SCHEMA_DIR=" + in(rabbitDataFolder+"/schema"),
			"RABBITMQ_GENERATED_CONFIG_DIR=" + in(rabbitDataFolder+"/config"),
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

// await waits until is says so.
func (s *RabbitMQ) await(ctx context.Context, p *process, is func(context.Context) bool) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !is(ctx) {
		select {
		case <-tick.C:
		case <-p.done:
			return p.failure()
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready in time, its log is %s: %w", p.name, p.logFile, ctx.Err())
		}
	}
	return nil
}

func listens(ctx context.Context, address string) bool {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// serves asks the management API, which comes up first, whether the port for
// applications is open. What answers knows the administrator's password, so it
// is this server.
func (s *RabbitMQ) serves(ctx context.Context) bool {
	where := "http://" + s.managementAddress() + "/api/health/checks/port-listener/" + strconv.Itoa(s.port)
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

// stop ends the server and then the mapper.
func (n *rabbitNode) stop(ctx context.Context) error {
	err := n.server.stop(ctx)
	return errors.Join(err, n.mapper.stop(ctx))
}

func (n *rabbitNode) kill() {
	if n.server != nil {
		n.server.kill()
	}
	n.mapper.kill()
}
