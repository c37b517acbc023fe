package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strconv"
	"sync"
)

// RabbitMQOptions says how a RabbitMQ server is to be run.
type RabbitMQOptions struct {
	// Dir is the server's folder; it is made where it does not exist, and
	// belongs to the server alone.
	Dir string
	// Port is where applications connect (AMQP). 0: the port of the last start
	// on this folder, a free one at the first.
	Port int
	// ManagementPort is where the management API answers; 0 as for Port.
	ManagementPort int
	// Logger may be nil.
	Logger *slog.Logger
}

// RabbitMQ is a running RabbitMQ server with its management API. All its
// methods are safe for concurrent use.
type RabbitMQ struct {
	folder     *folder
	binaries   rabbitBinaries
	port       int
	management int
	password   string
	logger     *slog.Logger
	done       chan error

	mu     sync.Mutex // serialises Restart, Kill and Stop
	node   *rabbitNode
	closed bool
}

// rabbitAdministrator is the user that the server makes at its first start.
const rabbitAdministrator = "administrator"

// StartRabbitMQ runs a RabbitMQ server on the folder o.Dir until Stop, or until
// this process ends; it takes some seconds. The folder is filled at the first
// start; later starts go on with its data and its ports, also after a kill -9 of
// whoever used it before, of whom nothing is left running.
//
// Errors say what to install or to free.
func StartRabbitMQ(ctx context.Context, o RabbitMQOptions) (*RabbitMQ, error) {
	logger := o.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	f, err := openFolder(o.Dir)
	if err != nil {
		return nil, err
	}
	s := &RabbitMQ{folder: f, logger: logger, done: make(chan error, 1)}
	if err := s.open(ctx, o); err != nil {
		f.close()
		return nil, err
	}
	return s, nil
}

func (s *RabbitMQ) open(ctx context.Context, o RabbitMQOptions) (err error) {
	if s.binaries, err = findRabbitMQ(); err != nil {
		return err
	}
	if err := endHolders(ctx, s.folder.root); err != nil {
		return err
	}
	if err := s.initialise(ctx, o); err != nil {
		return err
	}
	if err := s.run(ctx); err != nil {
		return err
	}
	return s.folder.writeFile(rabbitMadeFile, []byte("by chandler\n"))
}

// Host is the address the server listens on: loopback.
func (s *RabbitMQ) Host() string { return loopback }

// Port is the TCP port that applications connect to, without TLS.
func (s *RabbitMQ) Port() int { return s.port }

// URL is the management API's address with the administrator's name and
// password.
func (s *RabbitMQ) URL() string {
	u := url.URL{
		Scheme: "http",
		User:   url.UserPassword(rabbitAdministrator, s.password),
		Host:   s.managementAddress(),
	}
	return u.String()
}

func (s *RabbitMQ) managementAddress() string {
	return net.JoinHostPort(loopback, strconv.Itoa(s.management))
}

// Done receives an error when the server ends without Stop or Restart, and is
// closed by Stop.
func (s *RabbitMQ) Done() <-chan error { return s.done }

// Restart stops the server, whatever state it is in, and starts it again with
// the same data on the same ports. Connections are cut.
func (s *RabbitMQ) Restart(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return fmt.Errorf("the server in %s was stopped for good", s.folder.root)
	}
	if err := s.halt(ctx); err != nil {
		return err
	}
	if err := endHolders(ctx, s.folder.root); err != nil {
		return err
	}
	return s.run(ctx)
}

// Kill ends the server by kill -9, as a crash would. Restart recovers it.
func (s *RabbitMQ) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node != nil {
		s.node.kill()
		s.ended(s.node)
	}
}

// Stop ends the server and gives the folder back. When ctx ends first the
// server is killed, which the error says; durable data stays intact even so.
// Stopping twice is no error.
func (s *RabbitMQ) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	defer s.folder.close()
	err := s.halt(ctx)
	close(s.done)
	return err
}

// halt stops the server without telling Done.
func (s *RabbitMQ) halt(ctx context.Context) error {
	node := s.node
	if node == nil { // it has ended already
		return nil
	}
	s.node = nil
	return node.stop(ctx)
}

// run starts the server and waits until it serves applications.
func (s *RabbitMQ) run(ctx context.Context) error {
	node, err := s.startNode(ctx)
	if err != nil {
		return err
	}
	s.node = node
	go s.watch(node)
	s.logger.InfoContext(ctx, "queue server started", "folder", s.folder.root, "port", s.port, "management_port", s.management)
	return nil
}

func (s *RabbitMQ) watch(node *rabbitNode) {
	<-node.server.done
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.node == node {
		node.kill() // the mapper
		s.ended(node)
	}
}

// ended tells Done of an end that was not asked for.
func (s *RabbitMQ) ended(node *rabbitNode) {
	s.node = nil
	select {
	case s.done <- node.server.failure():
	default: // the last end was not yet heard of
	}
}
