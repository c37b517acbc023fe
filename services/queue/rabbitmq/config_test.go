package rabbitmq

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/endpoint"
)

func TestConfigFaults(t *testing.T) {
	tests := []struct{ name, config, want string }{
		{"nothing", `{}`, "url: must be http://"},
		{"no scheme", `{"url": "admin:hunter2@rabbit:15672"}`, "url: must be http://"},
		{"an application's address", `{"url": "amqp://admin:hunter2@rabbit:5672"}`, "url: must be http://"},
		{"no user", `{"url": "http://rabbit:15672"}`, "url: must be http://"},
		{"no host", `{"url": "http://admin:hunter2@:15672"}`, "url: must be http://"},
		{"port out of range", `{"url": "http://admin:hunter2@rabbit:70000"}`, "url: must be http://"},
		{"broken escape", `{"url": "http://admin:hunter2%@rabbit:15672"}`, "url: must be http://"},
		{"a query", `{"url": "http://admin:hunter2@rabbit:15672/?x=1"}`, "url: must end with the port"},
		{"no string", `{"url": 12}`, "a secret must be a string"},
		{"host with a port", `{"url": "http://a:hunter2@b", "host": "amqp://rabbit"}`, "host: must be a name"},
		{"both authorities", `{"url": "http://a:hunter2@b", "ca": "x", "ca_file": "y"}`, "ca_file: cannot be given together with ca"},
		{"no certificate", `{"url": "http://a:hunter2@b", "ca": "x"}`, "ca: is not a certificate"},
		{"prefix", `{"url": "http://a:hunter2@b", "prefix": "a_b"}`, "prefix: must be"},
		{"frames", `{"url": "http://a:hunter2@b", "frame_max": 1000}`, "frame_max: must be"},
		{"connections", `{"url": "http://a:hunter2@b", "max_connections": 0}`, "max_connections: must be"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Definition().DecodeConfig(json.RawMessage(test.config))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("%v, want %q", err, test.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the password is shown: %v", err)
			}
		})
	}
}

func TestWhatApplicationsAreTold(t *testing.T) {
	tests := []struct {
		name, config string
		want         server
	}{
		{"plain", `{"url": "http://a:b@rabbit:15672"}`, server{endpoint.Server{Host: "rabbit", Port: 5672}, false}},
		{"TLS", `{"url": "https://a:b@rabbit:15671"}`, server{endpoint.Server{Host: "rabbit", Port: 5671}, true}},
		{"TLS for the API only", `{"url": "https://a:b@rabbit", "tls": false}`, server{endpoint.Server{Host: "rabbit", Port: 5672}, false}},
		{"TLS for applications only", `{"url": "http://a:b@127.0.0.1:15672", "host": "mq.example.com", "tls": true}`, server{endpoint.Server{Host: "mq.example.com", Port: 5671}, true}},
		{"a port of its own", `{"url": "http://a:b@[::1]:15672", "port": 25672}`, server{endpoint.Server{Host: "::1", Port: 25672}, false}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := openBackend(t, json.RawMessage(test.config))
			if diff := cmp.Diff(test.want, b.server, cmp.AllowUnexported(server{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorityFile(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.pem")
	if err := os.WriteFile(garbage, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{"missing": filepath.Join(folder, "none.pem"), "garbage": garbage} {
		t.Run(name, func(t *testing.T) {
			c, err := services.Decode[Config](json.RawMessage(`{"url": "https://a:b@rabbit", "ca_file": "` + file + `"}`))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := open(context.Background(), c); err == nil || !strings.Contains(err.Error(), "ca_file: ") {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestPlanFaults(t *testing.T) {
	tests := []struct{ name, plan, want string }{
		{"empty is all defaults", `{}`, ""},
		{"everything", `{"connections": 5, "connections_per_binding": 5, "channels_per_binding": 1, "queues": 1, "queue_messages": 1, "queue_size": "1kB", "overflow": "drop-head", "default_queue_type": "stream"}`, ""},
		{"no connection", `{"connections": 0}`, "connections: must be from 1"},
		{"more for one than for all", `{"connections": 5, "connections_per_binding": 6}`, "connections_per_binding: must be from 1 to connections"},
		{"channels", `{"channels_per_binding": -1}`, "channels_per_binding: must be"},
		{"no queue", `{"queues": 0}`, "queues: must be from 1"},
		{"messages", `{"queue_messages": -1}`, "queue_messages: must be"},
		{"size without a unit", `{"queue_size": "100"}`, "queue_size: must be a whole number and kB"},
		{"size as a number", `{"queue_size": 100}`, "queue_size: must be a whole number and kB"},
		{"size in small letters", `{"queue_size": "1mb"}`, "queue_size: must be a whole number and kB"},
		{"overflow", `{"overflow": "reject"}`, "overflow: must be one of reject-publish, drop-head"},
		{"queue type", `{"default_queue_type": "lazy"}`, "default_queue_type: must be one of classic, quorum, stream"},
		{"all faults at once", `{"queues": 0, "overflow": ""}`, "overflow: must be"},
		{"unknown key", `{"storage": "1GB"}`, "storage: no such key"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Definition().DecodePlan(json.RawMessage(test.plan))
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}
