package embedded

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
)

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
