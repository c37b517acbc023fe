package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services"
	"github.com/chandler-broker/chandler/services/cafile"
	"github.com/chandler-broker/chandler/services/httpapi"
)

// dial opens a session as an application does: with amqp091-go and the uri.
func dial(ctx context.Context, credentials map[string]any) (services.Session, error) {
	uri, _ := credentials["uri"].(string)
	parsed, err := amqp.ParseURI(uri)
	if err != nil {
		return nil, errors.New("the credentials' uri is not one that amqp091-go understands") // err would quote it
	}
	properties := amqp.NewConnectionProperties()
	config := amqp.Config{Locale: "en_US", Properties: properties, SASL: []amqp.Authentication{login{parsed.PlainAuth(), properties}}}
	if ca, ok := credentials["ca"].(string); ok {
		config.TLSClientConfig = cafile.TLS(ca)
	}
	var link net.Conn
	config.Dial = func(network, address string) (_ net.Conn, err error) {
		link, err = (&net.Dialer{Timeout: httpapi.ConnectTimeout}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		deadline, ok := ctx.Deadline()
		if !ok {
			deadline = time.Now().Add(2 * httpapi.ConnectTimeout)
		}
		// For the greeting; amqp091-go removes it then.
		return link, link.SetDeadline(deadline)
	}
	conn, err := amqp.DialConfig(uri, config)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return &client{conn, link}, nil
}

// login asks the server to refuse wrong credentials at once. Otherwise it closes the connection
// after three seconds (RabbitMQ documentation, "Authentication Failure Notifications").
type login struct {
	amqp.Authentication
	properties amqp.Table // of the connection
}

// Response implements amqp.Authentication. amqp091-go has just set the capabilities.
func (l login) Response() string {
	if capabilities, ok := l.properties["capabilities"].(amqp.Table); ok {
		capabilities["authentication_failure_close"] = true
	}
	return l.Authentication.Response()
}

// client is an application's session on one connection.
type client struct {
	conn *amqp.Connection
	link net.Conn
}

// channel runs work on its own channel, because the server closes a channel on an error.
// amqp091-go takes no context, so the end of ctx ends the session.
func (c *client) channel(ctx context.Context, work func(*amqp.Channel) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.link.Close() })
	defer stop()
	ch, err := c.conn.Channel()
	if err != nil {
		return err
	}
	err = work(ch)
	if closeErr := ch.Close(); err == nil {
		err = closeErr
	}
	return err
}

const probe = "chandler.probe."

// Write implements services.Session: a key is a queue that keeps its newest message.
func (c *client) Write(ctx context.Context, key, value string) error {
	return c.channel(ctx, func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(probe+key, true, false, false, false, amqp.Table{
			amqp.QueueTypeArg: amqp.QueueTypeClassic, amqp.QueueMaxLenArg: 1, amqp.QueueOverflowArg: amqp.QueueOverflowDropHead,
		})
		if err != nil {
			return err
		}
		return publish(ctx, ch, probe+key, value)
	})
}

// publish returns once the server has taken the message.
func publish(ctx context.Context, ch *amqp.Channel, queue, value string) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	message := amqp.Publishing{DeliveryMode: amqp.Persistent, ContentType: "text/plain", Body: []byte(value)}
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, "", queue, true, false, message)
	if err != nil {
		return err
	}
	taken, err := confirmation.WaitContext(ctx)
	if err == nil && !taken {
		err = errors.New("the server rejected the message")
	}
	return err
}

// Read implements services.Session. The message stays in the queue.
func (c *client) Read(ctx context.Context, key string) (string, error) {
	var value string
	err := c.channel(ctx, func(ch *amqp.Channel) error {
		message, found, err := ch.Get(probe+key, false)
		if err != nil {
			return err
		}
		if !found {
			return errors.New("the queue is empty")
		}
		value = string(message.Body)
		return message.Nack(false, true)
	})
	return value, err
}

// Ping implements services.Session.
func (c *client) Ping(ctx context.Context) error {
	return c.channel(ctx, func(*amqp.Channel) error { return nil })
}

// Close implements services.Session.
func (c *client) Close() error { return c.conn.Close() }
