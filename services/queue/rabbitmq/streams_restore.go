package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"
	amqp "github.com/rabbitmq/amqp091-go"
)

// restoreMessages publishes the messages into the streams, which have just been declared.
// There may be most of them.
func (b *backend) restoreMessages(ctx context.Context, instance string, c *vhostCopy, lines *json.Decoder, most int64) error {
	if most == 0 {
		if err := lines.Decode(&messageLine{}); !errors.Is(err, io.EOF) {
			return errors.Join(errDiffers, err)
		}
		return nil
	}
	rights := rabbithole.Permissions{Configure: nothing, Write: "^chandler\\.restore$", Read: nothing}
	return b.asTenant(ctx, instance, rights, func(s *client) error {
		return s.channel(ctx, func(ch *amqp.Channel) error {
			if err := ch.Confirm(false); err != nil {
				return err
			}
			p := publisher{ctx: ctx, ch: ch, bind: func(n int) error { return b.bindOnly(ctx, b.names.vhost(instance), c.Queues[n].Name) }, at: -1}
			for {
				var line messageLine
				err := lines.Decode(&line)
				if errors.Is(err, io.EOF) {
					return errors.Join(p.flush(), b.unbindAll(ctx, b.names.vhost(instance)))
				}
				if err != nil {
					return fmt.Errorf("read the copy: %w", err)
				}
				if line.Queue < 0 || line.Queue >= len(c.Queues) || c.Queues[line.Queue].Type != streamType {
					return errors.New("the copy is damaged: a message is of no stream")
				}
				if most--; most < 0 {
					return errDiffers
				}
				c.sum(line.Queue).add(line.Message)
				if err := p.publish(line); err != nil {
					return fmt.Errorf("restore a message of the stream %q: %w", c.Queues[line.Queue].Name, err)
				}
			}
		})
	})
}

// publisher publishes messages, of one stream after the other.
type publisher struct {
	ctx     context.Context //nolint:containedctx // of one call
	ch      *amqp.Channel
	bind    func(queue int) error
	at      int // the queue that is bound; -1: none
	waiting []*amqp.DeferredConfirmation
}

func (p *publisher) publish(line messageLine) error {
	var m copiedMessage
	if err := json.Unmarshal(line.Message, &m); err != nil {
		return fmt.Errorf("read the copy: %w", err)
	}
	message, err := m.publishing()
	if err != nil {
		return err
	}
	if line.Queue != p.at {
		if err := errors.Join(p.flush(), p.bind(line.Queue)); err != nil {
			return err
		}
		p.at = line.Queue
	}
	confirmation, err := p.ch.PublishWithDeferredConfirmWithContext(p.ctx, restoreExchange, string(m.RoutingKey), true, false, message)
	if err != nil {
		return err
	}
	if p.waiting = append(p.waiting, confirmation); len(p.waiting) >= prefetched {
		return p.flush()
	}
	return nil
}

// flush waits until the server has taken all messages.
func (p *publisher) flush() error {
	for _, c := range p.waiting {
		taken, err := c.WaitContext(p.ctx)
		if err == nil && !taken {
			err = errors.New("the server rejected a message")
		}
		if err != nil {
			return err
		}
	}
	p.waiting = p.waiting[:0]
	return nil
}
