package rabbitmq

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	stdhash "hash"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// copiedMessage is a message of a stream in a copy. A copy has those of a stream in their order.
type copiedMessage struct {
	RoutingKey []byte `json:"routing_key,omitempty"`
	// Properties are those of AMQP that are set, by their names.
	Properties field  `json:"properties"`
	Headers    field  `json:"headers"`
	Body       []byte `json:"body,omitempty"`
}

// messageLine is a line of a copy: a message, and the number of its queue in the copy.
type messageLine struct {
	Queue   int             `json:"queue"`
	Message json.RawMessage `json:"message"`
}

// offsetHeader is what the server adds to a message that it delivers from a stream.
const offsetHeader = "x-stream-offset"

// copyOf is what a copy has of a message. The name of its publisher is left out: the server only
// accepts that of the connection's user.
func copyOf(d amqp.Delivery) copiedMessage {
	headers := amqp.Table{}
	for key, value := range d.Headers {
		if key != offsetHeader {
			headers[key] = value
		}
	}
	properties := amqp.Table{}
	for key, value := range map[string]string{
		"content_type": d.ContentType, "content_encoding": d.ContentEncoding, "correlation_id": d.CorrelationId, "reply_to": d.ReplyTo,
		"expiration": d.Expiration, "message_id": d.MessageId, "type": d.Type, "app_id": d.AppId,
	} {
		if value != "" {
			properties[key] = value
		}
	}
	if d.DeliveryMode != 0 {
		properties["delivery_mode"] = d.DeliveryMode
	}
	if d.Priority != 0 {
		properties["priority"] = d.Priority
	}
	if !d.Timestamp.IsZero() {
		properties["timestamp"] = d.Timestamp
	}
	return copiedMessage{[]byte(d.RoutingKey), field{properties}, field{headers}, d.Body}
}

// publishing is the message as it is published again.
func (m copiedMessage) publishing() (amqp.Publishing, error) {
	properties, ok := m.Properties.value.(amqp.Table)
	headers, isTable := m.Headers.value.(amqp.Table)
	if !ok || !isTable || headers.Validate() != nil {
		return amqp.Publishing{}, errors.New("the copy is damaged: a message has invalid headers or properties")
	}
	text := func(key string) string { s, _ := properties[key].(string); return s }
	number := func(key string) byte { n, _ := properties[key].(byte); return n }
	at, _ := properties["timestamp"].(time.Time)
	return amqp.Publishing{
		Headers: headers, Body: m.Body, ContentType: text("content_type"), ContentEncoding: text("content_encoding"),
		CorrelationId: text("correlation_id"), ReplyTo: text("reply_to"), Expiration: text("expiration"), MessageId: text("message_id"),
		Type: text("type"), AppId: text("app_id"), DeliveryMode: number("delivery_mode"), Priority: number("priority"), Timestamp: at,
	}, nil
}

// streamSum is the hash of a stream's messages.
type streamSum struct {
	messages int64
	hash     stdhash.Hash
}

func (s *streamSum) add(message []byte) {
	if s.hash == nil {
		s.hash = sha256.New()
	}
	s.messages++
	fmt.Fprintf(s.hash, "%d:", len(message))
	_, _ = s.hash.Write(message) // a hash takes everything
}

func (s *streamSum) String() string {
	if s.hash == nil {
		return ""
	}
	return fmt.Sprintf("%d %s", s.messages, hex.EncodeToString(s.hash.Sum(nil)))
}
