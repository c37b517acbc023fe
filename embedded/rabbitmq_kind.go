package embedded

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

func rabbitMQKind() Kind {
	return Kind{Backend: "queue/rabbitmq", Folder: "rabbitmq", missing: ErrNoRabbitMQ, Start: func(ctx context.Context, o Options) (*Running, error) {
		s, err := StartRabbitMQ(ctx, RabbitMQOptions{Dir: o.Dir})
		if err != nil {
			return nil, err
		}
		return &Running{Server: s, Variables: s.variables, Holds: s.holds, Secrets: map[string]string{
			"RabbitMQ's administrator's password": s.password,
		}}, nil
	}}
}

func (s *RabbitMQ) variables(connect func(string) string) map[string]string {
	api := url.URL{Scheme: "http", User: url.UserPassword(rabbitAdministrator, s.password), Host: connect(localAddress(s.management))}
	host, port := hostAndPort(connect(localAddress(s.port)))
	return map[string]string{"RABBITMQ_ADMIN_URL": api.String(), "RABBITMQ_HOST": host, "RABBITMQ_PORT": port}
}

// holds lists the virtual hosts and users that are not the server's own.
func (s *RabbitMQ) holds(ctx context.Context) ([]string, error) {
	hosts, err := named(ctx, s.URL()+"/api/vhosts", http.Header{})
	users, also := named(ctx, s.URL()+"/api/users", http.Header{})
	names := slices.DeleteFunc(append(hosts, users...), func(name string) bool { return name == "/" || name == rabbitAdministrator })
	return names, errors.Join(err, also)
}
