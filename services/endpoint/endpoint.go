// Package endpoint tells applications where servers are.
package endpoint

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// Server is where applications find a server.
type Server struct {
	Host string
	Port uint16
	// CA is the PEM of the authority that signed the server's certificate; empty: a
	// public one, or the server has no certificate.
	CA string
}

// Address is host:port.
func (s Server) Address() string { return net.JoinHostPort(s.Host, s.port()) }

func (s Server) port() string { return strconv.Itoa(int(s.Port)) }

// Credentials adds to values what all credentials have: type, provider, host and port, and
// ca if the server has one (Service Binding Specification, "Well-known Secret Entries").
// protocol is the endpoint's.
func (s Server) Credentials(credentialType, protocol string, values map[string]any) services.Credentials {
	values["type"], values["provider"], values["host"], values["port"] = credentialType, "chandler", s.Host, float64(s.Port)
	if s.CA != "" {
		values["ca"] = s.CA
	}
	return services.Credentials{
		Values:    values,
		Endpoints: []services.Endpoint{{Host: s.Host, Ports: []string{s.port()}, Protocol: protocol}},
	}
}

// Parse reads a server's URL: a scheme, a host and an optional port. ports are the allowed
// schemes with their default ports. The error does not quote the URL.
func Parse(text string, ports map[string]uint16) (*url.URL, Server, error) {
	forms := slices.Sorted(maps.Keys(ports))
	for i := range forms {
		forms[i] += "://host:port"
	}
	fault := fmt.Errorf("must be %s, without a user, a path or options", strings.Join(forms, " or "))
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
		return nil, Server{}, fault
	}
	u.Path = ""
	s := Server{Host: u.Hostname(), Port: ports[u.Scheme]}
	if s.Port == 0 {
		return nil, s, fault
	}
	if u.Port() != "" {
		port, err := strconv.ParseUint(u.Port(), 10, 16)
		if err != nil || port == 0 {
			return nil, s, errors.New("has an invalid port; ports are numbers from 1 to 65535")
		}
		s.Port = uint16(port)
	}
	return u, s, nil
}

// IsLoopback reports whether a host is this machine, reached without a network.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
