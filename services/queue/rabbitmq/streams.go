package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chandler-broker/chandler/services"
)

// Messages of streams are read from the first one on, which changes nothing. Those of other queues
// cannot be read so: whoever returns a message to its queue marks it as redelivered, and counts as
// one of the deliveries after which a quorum queue drops it.
const (
	streamType   = "stream"
	offsetOption = "x-stream-offset" // an argument of a consumer

	// quiet is how long no message of a stream arrives before the last one is taken as its end,
	// and empty how long none at all does before the stream is taken as empty.
	quiet = 500 * time.Millisecond
	empty = 5 * time.Second
	// busiest limits the search for the ends of streams that are written to all the time.
	busiest = 10 * time.Second
	// stalled is how long the server may not deliver what is there before another consumer asks,
	// and maxIdle how many consumers in a row may get nothing.
	stalled = 5 * time.Second
	maxIdle = 12
	// prefetched is how many messages the server sends ahead.
	prefetched = 200
)

// copyUser is the user that exists only while an instance is copied or restored.
func (n namer) copyUser(instance string) string { return n.prefix + instance + "_copy" }

// removalTime is how long the removal of the user may take after a copy was cancelled.
const removalTime = 5 * time.Second

// asTenant calls work with a session in the instance's virtual host, of a user of its own that it
// removes afterwards. It first removes one that a crash left.
func (b *backend) asTenant(ctx context.Context, instance string, rights rabbithole.Permissions, work func(*client) error) (err error) {
	vhost, user := b.names.vhost(instance), b.names.copyUser(instance)
	if err := remove(b.api.client(ctx), vhost, user); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), removalTime)
		defer cancel()
		err = errors.Join(err, remove(b.api.client(ctx), vhost, user))
	}()
	seed, err := services.NewSeed(services.RandomKey())
	if err != nil {
		return err
	}
	password := seed.Password("password")
	c := b.api.client(ctx)
	if err := makeUser(c, user, hash(seed, password)); err != nil {
		return err
	}
	if _, err := c.UpdatePermissionsIn(vhost, user, rights); err != nil {
		return explain("give permissions to user "+user, err)
	}
	session, err := dial(ctx, b.server.credentials(vhost, user, password).Values)
	if err != nil {
		return fmt.Errorf("open a connection to copy messages of streams: %w; the broker needs AMQP's port, and the instance a free connection of its plan's", err)
	}
	defer func() { _ = session.Close() }()
	return work(session.(*client)) //nolint:forcetypeassert // dial's
}

// streams are the copied queues that are streams, by their numbers in the copy.
func (c *vhostCopy) streams() (numbers []int) {
	for i, q := range c.Queues {
		if q.Type == streamType {
			numbers = append(numbers, i)
		}
	}
	return numbers
}

// copyMessages writes the messages of all streams.
func (b *backend) copyMessages(ctx context.Context, inst instance, c *vhostCopy, w io.Writer) error {
	numbers := c.streams()
	if len(numbers) == 0 {
		return nil
	}
	return b.asTenant(ctx, inst.Name, rabbithole.Permissions{Configure: nothing, Write: nothing, Read: everything}, func(s *client) error {
		ends := map[int]int64{}
		if err := s.channel(ctx, func(ch *amqp.Channel) error { return findEnds(ctx, ch, c, numbers, ends) }); err != nil {
			return fmt.Errorf("look for the ends of streams: %w", err)
		}
		for _, n := range numbers {
			end, ok := ends[n]
			if !ok {
				continue
			}
			if err := c.copyStream(ctx, s, inst.Plan, n, end, w); err != nil {
				return fmt.Errorf("copy the stream %q: %w", c.Queues[n].Name, err)
			}
		}
		return nil
	})
}

// consume reads a stream from an offset on, which is a number or a word.
func consume(ch *amqp.Channel, stream string, from any) (<-chan amqp.Delivery, error) {
	return ch.Consume(stream, "", false, false, false, false, amqp.Table{offsetOption: from})
}

func offsetOf(d amqp.Delivery) (int64, error) {
	offset, ok := d.Headers[offsetHeader].(int64)
	if !ok {
		return 0, errors.New("the server delivered a message without its offset")
	}
	return offset, d.Ack(false)
}

// findEnds finds the offset of the last message that each stream has now; none of one that is
// empty. Streams begin to deliver with the part that was written last.
func findEnds(ctx context.Context, ch *amqp.Channel, c *vhostCopy, numbers []int, ends map[int]int64) error {
	if err := ch.Qos(prefetched, 0, false); err != nil {
		return err
	}
	type seen struct {
		number int
		amqp.Delivery
	}
	all, done := make(chan seen), make(chan struct{})
	defer close(done)
	for _, n := range numbers {
		deliveries, err := consume(ch, c.Queues[n].Name, "last")
		if err != nil {
			return err
		}
		go func() {
			for d := range deliveries {
				select {
				case all <- seen{n, d}:
				case <-done:
					return
				}
			}
		}()
	}
	latest := time.After(busiest)
	for {
		wait := empty
		if len(ends) == len(numbers) {
			wait = quiet
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case d := <-all:
			offset, err := offsetOf(d.Delivery)
			if err != nil {
				return err
			}
			ends[d.number] = offset
		case <-time.After(wait):
			return nil
		case <-latest:
			return nil
		}
	}
}

// copyStream writes the messages up to the one with the offset end. A stream may be larger than its
// limit by one of its files: the oldest messages that are too many are left out, because the
// server would remove them, or more, when they are restored.
func (c *vhostCopy) copyStream(ctx context.Context, s *client, p Plan, n int, end int64, w io.Writer) error {
	var size services.Size
	limit := streamLimit(p, c.Queues[n].Arguments)
	err := eachMessage(ctx, s, c.Queues[n].Name, end, func(d amqp.Delivery) error { size += sizeOf(d); return nil })
	if err != nil {
		return err
	}
	err = eachMessage(ctx, s, c.Queues[n].Name, end, func(d amqp.Delivery) error {
		if limit != 0 && size > limit {
			size -= sizeOf(d)
			c.oldest++
			return nil
		}
		return c.writeMessage(n, d, w)
	})
	c.largest = max(c.largest, size)
	return err
}

// streamLimit is how large a stream may be; 0: without limit.
func streamLimit(p Plan, arguments map[string]any) services.Size {
	limit := p.QueueSize
	if n, ok := arguments["x-max-length-bytes"].(float64); ok && (limit == 0 || services.Size(n) < limit) {
		limit = services.Size(n)
	}
	return limit
}

// sizeOf is at least what the message takes in its stream.
func sizeOf(d amqp.Delivery) services.Size {
	const rest = 256 // properties' names and the server's own
	size := len(d.Body) + len(d.RoutingKey) + len(d.Exchange) + rest
	described, err := json.Marshal(copyOf(amqp.Delivery{Headers: d.Headers, ContentType: d.ContentType, CorrelationId: d.CorrelationId, MessageId: d.MessageId}))
	if err != nil {
		return services.Size(size)
	}
	return services.Size(size + len(described))
}

// eachMessage reads a stream up to the message with the offset end. If the server stops delivering,
// which it does at times when it deletes the file that it reads, another consumer continues.
func eachMessage(ctx context.Context, s *client, stream string, end int64, do func(amqp.Delivery) error) error {
	r := reading{from: "first", end: end, do: do}
	for idle := 0; !r.done; {
		before := r.from
		if err := s.channel(ctx, func(ch *amqp.Channel) error { return r.read(ctx, ch, stream) }); err != nil {
			return err
		}
		if idle++; r.from != before {
			idle = 0
		}
		if idle == maxIdle {
			return fmt.Errorf("the server has not delivered a message for %s", maxIdle*stalled)
		}
	}
	return nil
}

// reading is how far a stream was read.
type reading struct {
	from any // the next offset
	end  int64
	do   func(amqp.Delivery) error
	done bool
}

// read reads until nothing is delivered any more.
func (r *reading) read(ctx context.Context, ch *amqp.Channel, stream string) error {
	if err := ch.Qos(prefetched, 0, false); err != nil {
		return err
	}
	deliveries, err := consume(ch, stream, r.from)
	if err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(stalled):
			return nil
		case d, ok := <-deliveries:
			if !ok {
				return errors.New("the server closed the connection")
			}
			if err := r.take(d); err != nil || r.done {
				return err
			}
		}
	}
}

func (r *reading) take(d amqp.Delivery) error {
	offset, err := offsetOf(d)
	if err != nil {
		return err
	}
	if next, ok := r.from.(int64); ok && offset < next {
		return nil // the server delivers from the beginning of a part
	}
	r.from, r.done = offset+1, offset >= r.end
	if offset > r.end {
		return nil
	}
	return r.do(d)
}

func (c *vhostCopy) writeMessage(n int, d amqp.Delivery, w io.Writer) error {
	message, err := json.Marshal(copyOf(d))
	if err != nil {
		return err
	}
	c.sum(n).add(message)
	line, err := json.Marshal(messageLine{n, message})
	if err != nil {
		return err
	}
	if d.UserId != "" {
		c.publishers++
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// sum is the hash of the messages of a stream.
func (c *vhostCopy) sum(n int) *streamSum {
	if c.sums == nil {
		c.sums = map[int]*streamSum{}
	}
	if c.sums[n] == nil {
		c.sums[n] = &streamSum{}
	}
	return c.sums[n]
}

// restoreExchange passes messages to the one stream that is bound to it, whatever their routing
// keys and headers name.
const restoreExchange = "chandler.restore"
