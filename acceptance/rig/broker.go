package rig

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// Broker is a replica: a chandler serve that can be killed, and restarted at the same
// address. It is safe for concurrent use.
type Broker struct {
	deployment *Deployment
	binary     string
	name       string
	address    string
	more       map[string]string

	mu      sync.Mutex
	process *Process
}

// AddBroker starts a replica, and waits until it serves. more are variables of its environment.
func (d *Deployment) AddBroker(ctx context.Context, name string, more map[string]string) (*Broker, error) {
	return d.AddBrokerOf(ctx, d.Binary, name, more)
}

// AddBrokerOf is AddBroker with another release's binary.
func (d *Deployment) AddBrokerOf(ctx context.Context, binary, name string, more map[string]string) (*Broker, error) {
	address, err := FreeAddress()
	if err != nil {
		return nil, err
	}
	b := &Broker{deployment: d, binary: binary, name: name, address: address, more: map[string]string{"CHANDLER_LISTEN": address}}
	maps.Copy(b.more, more)
	d.brokers = append(d.brokers, b)
	return b, b.Start(ctx)
}

// FreeAddress returns a loopback address on which nobody listens. Neither the system nor
// package embedded chooses its port, so that it is still free when a killed replica
// restarts.
func FreeAddress() (string, error) {
	var err error
	for range 100 {
		address := net.JoinHostPort("127.0.0.1", strconv.Itoa(30000+rand.IntN(2768))) //nolint:gosec // no secret
		listener, failed := net.Listen("tcp", address)                                //nolint:noctx // nothing to wait for
		if failed == nil {
			return address, listener.Close()
		}
		err = failed
	}
	return "", fmt.Errorf("find a free port: %w", err)
}

// URL is the replica's URL.
func (b *Broker) URL() string { return "http://" + b.address }

// Process is the replica's latest process.
func (b *Broker) Process() *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.process
}

// Launch starts the replica's process, without waiting until it serves.
func (b *Broker) Launch() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	p, err := Start(Command{
		Name: b.name, Path: b.binary, Args: []string{"serve"}, Env: b.deployment.Env(b.more), Dir: b.deployment.Dir,
	})
	if err == nil {
		b.process = p
	}
	return err
}

// Start is Launch, and waits until the replica serves.
func (b *Broker) Start(ctx context.Context) error {
	if err := b.Launch(); err != nil {
		return err
	}
	return AwaitServing(ctx, b.URL(), b.Process())
}

// AwaitServing waits until a broker answers at the URL.
func AwaitServing(ctx context.Context, url string, p *Process) error {
	err := p.Await(ctx, 20*time.Millisecond, func() bool {
		code, _, err := fetch(ctx, url+"/healthz", nil)
		return err == nil && code == http.StatusOK
	})
	if err != nil {
		return fmt.Errorf("the broker does not serve: %w", err)
	}
	return nil
}

// Kill ends the replica by kill -9, if it runs.
func (b *Broker) Kill() {
	if p := b.Process(); p != nil {
		p.Kill()
	}
}

// Client makes a client of the replica, as the platform. The deployment's Answers record
// its responses.
func (b *Broker) Client(o osbclient.Options) (*osbclient.Client, error) {
	return b.deployment.Client(b.URL(), o)
}

// Client is Broker.Client for any URL.
func (d *Deployment) Client(url string, o osbclient.Options) (*osbclient.Client, error) {
	o.URL, o.Username, o.Password = url, d.Username, d.Password
	client := http.Client{Timeout: time.Minute}
	if o.HTTP != nil {
		client = *o.HTTP
	}
	client.Transport = d.Answers.record(client.Transport)
	o.HTTP = &client
	return osbclient.New(o)
}
