package embedded

import (
	"context"
	"log/slog"
	"net/url"
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
	*child
	options     RabbitMQOptions
	binaries    rabbitBinaries
	port        int
	management  int
	clusterPort int
	mapperPort  int
	// mapper is the port mapper that Erlang insists on; nil: it does not run. It
	// is a child of ours too: the one that Erlang would start by itself outlives
	// everything.
	mapper   *process
	password string
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
	c, err := newChild("RabbitMQ server", o.Dir, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &RabbitMQ{child: c, options: o}
	own := childParts{prepare: s.prepare, program: s.program, ready: s.ready, serving: s.serving, ended: s.endMapper}
	if err := s.open(ctx, own, s.fill); err != nil {
		return nil, err
	}
	return s, nil
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
		Host:   localAddress(s.management),
	}
	return u.String()
}
