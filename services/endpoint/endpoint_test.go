package endpoint_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

func TestCredentials(t *testing.T) {
	for name, s := range map[string]endpoint.Server{
		"a name":     {Host: "db.example.com", Port: 5432},
		"an address": {Host: "2001:db8::1", Port: 5432},
		"with a CA":  {Host: "db.example.com", Port: 5432, CA: "PEM"},
	} {
		t.Run(name, func(t *testing.T) {
			values := map[string]any{"type": "postgresql", "provider": "chandler", "host": s.Host, "port": 5432.0, "username": "u"}
			if s.CA != "" {
				values["ca"] = s.CA
			}
			want := services.Credentials{Values: values, Endpoints: []services.Endpoint{{Host: s.Host, Ports: []string{"5432"}, Protocol: "tcp"}}}
			if diff := cmp.Diff(want, s.Credentials("postgresql", "tcp", map[string]any{"username": "u"})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestAddress(t *testing.T) {
	if got := (endpoint.Server{Host: "::1", Port: 53}).Address(); got != "[::1]:53" {
		t.Errorf("address %s", got)
	}
}

func TestParse(t *testing.T) {
	ports := map[string]uint16{"http": 80, "https": 443}
	for text, want := range map[string]string{
		"http://gateway":          "http://gateway gateway:80",
		" https://gateway/ ":      "https://gateway gateway:443",
		"https://[::1]:9000":      "https://[::1]:9000 [::1]:9000",
		"http://192.0.2.1:65535/": "http://192.0.2.1:65535 192.0.2.1:65535",
		"":                        "",
		"gateway":                 "",
		"ftp://gateway":           "",
		"http://":                 "",
		"http://:80":              "",
		"http://gateway:0":        "",
		"http://gateway:65536":    "",
		"http://gateway:x":        "",
		"http://u:p@gateway":      "",
		"http://gateway/path":     "",
		"http://gateway?x":        "",
		"http://gateway#x":        "",
	} {
		got := ""
		u, s, err := endpoint.Parse(text, ports)
		if err == nil {
			got = u.String() + " " + s.Address()
		} else if want := "has an invalid port"; !strings.HasPrefix(err.Error(), want) && err.Error() != "must be http://host:port or https://host:port, without a user, a path or options" {
			t.Errorf("%q: %v", text, err)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestIsLoopback(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "127.0.0.1": true, "127.1.2.3": true, "::1": true,
		"": false, "db.example.com": false, "192.0.2.1": false, "localhost.example.com": false,
	} {
		if got := endpoint.IsLoopback(host); got != want {
			t.Errorf("IsLoopback(%q): %t", host, got)
		}
	}
}
