package nats

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
)

// dial opens a session as an application does.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	creds, _ := credentials["creds"].(string)
	ca, _ := credentials["ca"].(string)
	c := &client{refusals: make(chan error, 1)}
	conn, err := nats.Connect(uri,
		nats.UserCredentialBytes([]byte(creds)),
		nats.NoReconnect(), // a session that was cut stays so
		nats.SetCustomDialer(dialer{ctx}),
		nats.Timeout(connectTimeout),
		nats.ErrorHandler(c.handleRefusal),
		trustCA(ca))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	c.conn = conn
	if c.stream, err = jetstream.New(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// trustCA makes a connection trust an authority; "": the system's.
func trustCA(ca string) nats.Option {
	return func(o *nats.Options) error {
		if ca == "" {
			return nil
		}
		return nats.Secure(cafile.TLS(ca))(o)
	}
}

// client is an application's session. Its stream keeps the last message of each subject.
type client struct {
	conn     *nats.Conn
	stream   jetstream.JetStream
	refusals chan error
}

const (
	probeStream  = "CHANDLER_PROBE"
	probeSubject = "chandler.probe."
	// sessionPatience bounds what a session waits for an answer.
	sessionPatience = 10 * time.Second
)

// handleRefusal receives a refusal, for lack of a permission or over a limit, for the call in progress.
func (c *client) handleRefusal(_ *nats.Conn, _ *nats.Subscription, err error) {
	select {
	case c.refusals <- err:
	default: // the last one was not yet asked for
	}
}

// during ends a call when the server refuses a message of it.
func (c *client) during(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sessionPatience)
	defer cancel()
	for len(c.refusals) > 0 {
		<-c.refusals //nolint:errcheck // it belongs to an earlier call
	}
	done := make(chan error, 1)
	go func() { done <- call(ctx) }()
	select {
	case err := <-done:
		return err
	case err := <-c.refusals:
		cancel()
		return errors.Join(err, <-done)
	}
}

func subject(key string) string { return probeSubject + hex.EncodeToString([]byte(key)) }

// Write implements services.Session.
func (c *client) Write(ctx context.Context, key, value string) error {
	return c.during(ctx, func(ctx context.Context) error {
		_, err := c.stream.Publish(ctx, subject(key), []byte(value), jetstream.WithRetryAttempts(0))
		if !errors.Is(err, jetstream.ErrNoStreamResponse) {
			return err
		}
		_, err = c.stream.CreateStream(ctx, jetstream.StreamConfig{
			Name: probeStream, Subjects: []string{probeSubject + ">"}, MaxMsgsPerSubject: 1,
		})
		if err != nil {
			return err
		}
		// The other servers of a cluster hear of the stream a moment later.
		_, err = c.stream.Publish(ctx, subject(key), []byte(value), jetstream.WithRetryAttempts(20))
		return err
	})
}

// Read implements services.Session.
func (c *client) Read(ctx context.Context, key string) (value string, err error) {
	err = c.during(ctx, func(ctx context.Context) error {
		stream, err := c.stream.Stream(ctx, probeStream)
		if err != nil {
			return err
		}
		message, err := stream.GetLastMsgForSubject(ctx, subject(key))
		if err != nil {
			return err
		}
		value = string(message.Data)
		return nil
	})
	return value, err
}

// Ping implements services.Session.
func (c *client) Ping(ctx context.Context) error { return c.conn.FlushWithContext(ctx) }

// Close implements services.Session.
func (c *client) Close() error {
	c.conn.Close()
	return nil
}
