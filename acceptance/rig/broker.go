package rig

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/chandler-broker/chandler/broker/osb/osbclient"
)

// Broker is one replica: a chandler serve that can be killed and started again
// at the same address. All its methods are safe for concurrent use.
type Broker struct {
	deployment *Deployment
	binary     string
	name       string
	address    string
	more       map[string]string

	mu      sync.Mutex
	process *Process
}

// AddBroker starts a replica and waits until it serves; more is added to its
// environment.
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
	for key, value := range more {
		b.more[key] = value
	}
	d.brokers = append(d.brokers, b)
	return b, b.Start(ctx)
}

// FreeAddress returns a loopback address that nobody listens on, below the ports
// that the system hands out, so that it is still free when a replica that was
// killed starts again, and beside those that package embedded chooses from.
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

// URL is where the replica serves.
func (b *Broker) URL() string { return "http://" + b.address }

// Process is the replica's latest process.
func (b *Broker) Process() *Process {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.process
}

// Launch starts the replica's process and does not wait until it serves.
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

// AwaitServing waits until a broker answers at the URL, or its process ended.
func AwaitServing(ctx context.Context, url string, p *Process) error {
	for {
		if code, _, err := fetch(ctx, url+"/healthz"); err == nil && code == http.StatusOK {
			return nil
		}
		if err := p.Ended(); err != nil {
			return fmt.Errorf("the broker does not serve: %w", err)
		}
		select {
		case <-ctx.Done():
			return errors.Join(errors.New("the broker does not serve in time"), ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the replica by kill -9, where it runs.
func (b *Broker) Kill() {
	if p := b.Process(); p != nil {
		p.Kill()
	}
}

// Client makes a client of the replica, as the platform. Every answer but those
// that carry credentials is kept in the deployment's Answers.
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
	client.Transport = d.Answers.keep(client.Transport)
	o.HTTP = &client
	return osbclient.New(o)
}
