package embedded

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

// RabbitMQ is a running RabbitMQ server with its management API. It is safe for concurrent
// use.
type RabbitMQ struct {
	child
	binaries    rabbitBinaries
	management  int
	clusterPort int
	mapperPort  int
	// mapper is Erlang's port mapper; nil: it does not run. It is a child of this process,
	// because one that Erlang starts would never end.
	mapper   *process
	password string
}

// rabbitAdministrator is the user that the server makes at its first start.
const rabbitAdministrator = "administrator"

// StartRabbitMQ runs a RabbitMQ server until Stop, or until this process ends; it takes some
// seconds. Errors say what to install, or which port to free.
func StartRabbitMQ(ctx context.Context, o Options) (*RabbitMQ, error) {
	s := &RabbitMQ{}
	s.title = "RabbitMQ server"
	return startServer(ctx, o.Dir, s)
}

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

// Access implements Running.
func (s *RabbitMQ) Access(connect func(string) string) (variables, secrets map[string]string) {
	api := url.URL{Scheme: "http", User: url.UserPassword(rabbitAdministrator, s.password), Host: connect(localAddress(s.management))}
	host, port := hostAndPort(connect(s.Address()))
	return map[string]string{"RABBITMQ_ADMIN_URL": api.String(), "RABBITMQ_HOST": host, "RABBITMQ_PORT": port},
		map[string]string{"RabbitMQ's administrator's password": s.password}
}

// Holds implements Running. It lists virtual hosts and users.
func (s *RabbitMQ) Holds(ctx context.Context) ([]string, error) {
	hosts, err := listNames(ctx, s.URL()+"/api/vhosts", http.Header{})
	users, also := listNames(ctx, s.URL()+"/api/users", http.Header{})
	names := slices.DeleteFunc(append(hosts, users...), func(name string) bool { return name == "/" || name == rabbitAdministrator })
	return names, errors.Join(err, also)
}
