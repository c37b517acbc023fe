package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/chandler-broker/chandler/embedded"
)

func startRabbitMQ(ctx context.Context, d *Deployment, s *Server) (map[string]string, error) {
	server, err := embedded.StartRabbitMQ(ctx, embedded.RabbitMQOptions{Dir: d.path("rabbitmq")})
	if err != nil {
		return nil, err
	}
	s.process = server
	s.holds = func(ctx context.Context) ([]string, error) { return rabbitMQHolds(ctx, server) }
	if err := d.Secrets.AddURL("RabbitMQ's administrator's password", server.URL()); err != nil {
		return nil, err
	}
	management, err := url.Parse(server.URL())
	if err != nil {
		return nil, fmt.Errorf("the management API's URL is none") // err would quote it
	}
	port, err := strconv.Atoi(management.Port())
	if err != nil {
		return nil, err
	}
	api, err := s.proxy(management.Hostname(), port)
	if err != nil {
		return nil, err
	}
	messages, err := s.proxy(server.Host(), server.Port())
	if err != nil {
		return nil, err
	}
	management.Host = api.Addr()
	return map[string]string{
		"RABBITMQ_ADMIN_URL": management.String(), "RABBITMQ_HOST": server.Host(), "RABBITMQ_PORT": messages.Port(),
	}, nil
}

// rabbitMQHolds are the virtual hosts and users that are not the server's own.
func rabbitMQHolds(ctx context.Context, server *embedded.RabbitMQ) ([]string, error) {
	u, err := url.Parse(server.URL())
	if err != nil {
		return nil, fmt.Errorf("the management API's URL is none") // err would quote it
	}
	administrator := u.User.Username()
	names := []string{}
	for _, path := range []string{"/api/vhosts", "/api/users"} {
		u.Path = path
		var there []struct {
			Name string `json:"name"`
		}
		if err := fetchJSON(ctx, u.String(), nil, &there); err != nil {
			return nil, err
		}
		for _, t := range there {
			names = append(names, t.Name)
		}
	}
	return slices.DeleteFunc(names, func(name string) bool { return name == "/" || name == administrator }), nil
}

// fetchJSON gets what a server's API answers.
func fetchJSON(ctx context.Context, address string, header http.Header, into any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", request.URL.Path, answer.Status)
	}
	return json.NewDecoder(answer.Body).Decode(into)
}
