package rabbitmq

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/chandler-broker/chandler/services"
)

// copyFormat is the format of a copy: one JSON document, a vhostCopy, and after it a messageLine for
// each message of a stream.
const (
	copyFormat            = "rabbitmq-2"
	formatWithoutMessages = "rabbitmq-1"

	countMessages = "messages"
)

// vhostCopy is what applications declared in a virtual host and expect to last. Policies are the
// plan's, and users are bindings': a copy has neither.
type vhostCopy struct {
	Queues    []copiedQueue    `json:"queues"`
	Exchanges []copiedExchange `json:"exchanges"`
	Bindings  []copiedBinding  `json:"bindings"`
	Complete  bool             `json:"complete"`

	// What the copy lacks: messages that cannot be read, queues that do not last, the oldest
	// messages of streams above their limit, and who published messages.
	messages, withMessages, passing, oldest, publishers int64

	sums    map[int]*streamSum // of the messages of streams, by their numbers
	largest services.Size      // of the streams, as far as their messages are copied
}

type copiedQueue struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Arguments  map[string]any `json:"arguments"`

	Exclusive bool  `json:"exclusive,omitempty"`
	Messages  int64 `json:"messages,omitempty"`
}

type copiedExchange struct {
	Name       string         `json:"name"`
	Type       string         `json:"type"`
	Durable    bool           `json:"durable"`
	AutoDelete bool           `json:"auto_delete"`
	Internal   bool           `json:"internal"`
	Arguments  map[string]any `json:"arguments"`
}

type copiedBinding struct {
	Source          string         `json:"source"`
	Destination     string         `json:"destination"`
	DestinationType string         `json:"destination_type"`
	RoutingKey      string         `json:"routing_key"`
	Arguments       map[string]any `json:"arguments"`
}

const (
	maxCopy = 256 << 20
	maxName = 255 // bytes (AMQP 0-9-1, short strings)

	queueTypeArgument = "x-queue-type"
	expiresArgument   = "x-expires"
	reserved          = "amq." // names that only the server gives
)

// lasts says whether the queue stays without its application. Others are declared anew by it.
func (q *copiedQueue) lasts() bool {
	return q.Durable && !q.Exclusive && !q.AutoDelete && q.Arguments[expiresArgument] == nil && !strings.HasPrefix(q.Name, reserved)
}

func (e *copiedExchange) lasts() bool {
	return e.Durable && !e.AutoDelete && !builtIn(e.Name)
}

// builtIn says whether each virtual host has the exchange.
func builtIn(exchange string) bool { return exchange == "" || strings.HasPrefix(exchange, reserved) }

// keep drops what does not last, and what is bound to it, and counts the messages.
func (c *vhostCopy) keep() {
	total := len(c.Queues) + len(c.Exchanges)
	var builtInExchanges int64
	for _, q := range c.Queues {
		if q.Messages > 0 && !(q.Type == streamType && q.lasts()) {
			c.messages += q.Messages
			c.withMessages++
		}
	}
	for _, e := range c.Exchanges {
		if builtIn(e.Name) {
			builtInExchanges++
		}
	}
	c.Queues = slices.DeleteFunc(c.Queues, func(q copiedQueue) bool { return !q.lasts() })
	c.Exchanges = slices.DeleteFunc(c.Exchanges, func(e copiedExchange) bool { return !e.lasts() })
	c.passing = int64(total-len(c.Queues)-len(c.Exchanges)) - builtInExchanges
	for i := range c.Queues {
		c.Queues[i].Messages = 0
	}
	names := c.names()
	c.Bindings = slices.DeleteFunc(c.Bindings, func(b copiedBinding) bool { return names.check(b) != nil })
}

// endpoints are what bindings may connect.
type endpoints struct{ queues, exchanges map[string]bool }

func (c *vhostCopy) names() endpoints {
	e := endpoints{map[string]bool{}, map[string]bool{}}
	for _, q := range c.Queues {
		e.queues[q.Name] = true
	}
	for _, x := range c.Exchanges {
		e.exchanges[x.Name] = true
	}
	return e
}

// check refuses a binding of something that the copy does not have.
func (e endpoints) check(b copiedBinding) error {
	exchange := func(name string) bool { return e.exchanges[name] || name != "" && builtIn(name) }
	known := b.DestinationType == "queue" && e.queues[b.Destination] || b.DestinationType == "exchange" && exchange(b.Destination)
	if !exchange(b.Source) || !known || len(b.RoutingKey) > maxName {
		return fmt.Errorf("the binding of the %s %q to the exchange %q: the copy has no such thing", b.DestinationType, b.Destination, b.Source)
	}
	return nil
}

// check refuses what an application cannot declare, or would not be in a copy.
func (c *vhostCopy) check() error {
	var faults []error
	for _, q := range c.Queues {
		if !q.lasts() || !validName(q.Name) {
			faults = append(faults, fmt.Errorf("the queue %q: users cannot make it, or it does not last", q.Name))
		}
	}
	for _, e := range c.Exchanges {
		if !e.lasts() || !validName(e.Name) {
			faults = append(faults, fmt.Errorf("the exchange %q: users cannot make it, or it does not last", e.Name))
		}
	}
	names := c.names()
	for _, b := range c.Bindings {
		faults = append(faults, names.check(b))
	}
	if err := errors.Join(faults...); err != nil {
		return services.Rejected("the copy cannot be restored: %v", err)
	}
	return nil
}

// validName says whether a queue or exchange can have the name. "." and ".." would be another
// address of the API.
func validName(name string) bool {
	return name != "" && len(name) <= maxName && name != "." && name != ".."
}

// contents describes the copy.
func (c *vhostCopy) contents(p Plan) (services.Contents, error) {
	var lines []string
	add := func(kind string, one any) error {
		line, err := json.Marshal(one)
		lines = append(lines, kind+" "+string(line))
		return err
	}
	var errs []error
	implied := false
	for _, q := range c.Queues {
		errs = append(errs, add("queue", q))
		implied = implied || q.Arguments[queueTypeArgument] == nil
	}
	for _, e := range c.Exchanges {
		errs = append(errs, add("exchange", e))
	}
	for _, b := range c.Bindings {
		errs = append(errs, add("binding", b))
	}
	details := copyDetails{QueueType: p.DefaultQueueType, Implied: implied, Definitions: digestOf(lines), Largest: int64(c.largest)}
	counts := map[string]int64{
		"queues": int64(len(c.Queues)), "exchanges": int64(len(c.Exchanges)), "bindings": int64(len(c.Bindings)), countMessages: 0,
	}
	for n, sum := range c.sums {
		errs = append(errs, add("messages", []string{c.Queues[n].Name, sum.String()}))
		counts[countMessages] += sum.messages
	}
	encoded, err := json.Marshal(details)
	return services.Contents{
		Format: copyFormat, Digest: digestOf(lines), Details: encoded, Omitted: c.omitted(), Counts: counts,
	}, errors.Join(append(errs, err)...)
}

func digestOf(lines []string) string {
	slices.SortFunc(lines, cmp.Compare)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	return hex.EncodeToString(sum[:])
}

func (c *vhostCopy) omitted() []string {
	omitted := []string{fmt.Sprintf("Messages of classic and quorum queues: about %d in %d queues. RabbitMQ cannot read them without consuming them.", c.messages, c.withMessages)}
	if len(c.streams()) > 0 {
		omitted = append(omitted, "Of messages of streams, their offsets, the times at which they arrived and their exchanges; offsets that consumers have stored. Messages that arrived while the backup began may be missing.")
	}
	if c.oldest > 0 {
		omitted = append(omitted, fmt.Sprintf("The oldest %d messages of streams that are larger than their limit.", c.oldest))
	}
	if c.publishers > 0 {
		omitted = append(omitted, fmt.Sprintf("The property user-id of %d messages.", c.publishers))
	}
	if c.passing > 0 {
		omitted = append(omitted, fmt.Sprintf("%d queues and exchanges that end with their application or expire: not durable, exclusive, auto-delete, with x-expires, or named by the server.", c.passing))
	}
	return omitted
}

// copyDetails are what Restore has to know before it reads the copy.
type copyDetails struct {
	// QueueType is the plan's default, and Implied says that a queue was declared without a type.
	QueueType string `json:"queue_type"`
	Implied   bool   `json:"implied"`
	// Definitions is the digest of the copy without messages.
	Definitions string `json:"definitions,omitempty"`
	// Largest is the size of the largest stream in bytes.
	Largest int64 `json:"largest_stream,omitempty"`
}

// fits refuses a copy that another plan would change.
func (d *copyDetails) fits(p Plan, counts map[string]int64) error {
	if d.Implied && d.QueueType != p.DefaultQueueType {
		return services.Rejected("plan_id: the copy has queues that were declared without a type, on a plan whose default queue type is %q, and this plan's is %q; choose a plan with the same", d.QueueType, p.DefaultQueueType)
	}
	if counts["queues"] > int64(p.Queues) {
		return services.Rejected("the copy has %d queues, and the plan allows %d; choose a larger plan", counts["queues"], p.Queues)
	}
	if largest := services.Size(d.Largest); p.QueueSize != 0 && largest > p.QueueSize {
		return services.Rejected("the copy has a stream of %s, and the plan allows %s in a queue; choose a larger plan", largest, p.QueueSize)
	}
	return nil
}

// readCopy reads a copy up to its messages, which lines returns.
func readCopy(r io.Reader) (c *vhostCopy, lines *json.Decoder, err error) {
	c = &vhostCopy{}
	decoder := json.NewDecoder(io.LimitReader(r, maxCopy))
	decoder.UseNumber()
	if err := decoder.Decode(c); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, nil, fmt.Errorf("read the copy: %w", err)
	}
	if !c.Complete {
		return nil, nil, errors.New("read the copy: it is not a copy of a virtual host")
	}
	return c, json.NewDecoder(io.MultiReader(decoder.Buffered(), r)), nil
}
