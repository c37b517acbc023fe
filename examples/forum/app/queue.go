package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/examples/forum/app/bindings"
	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

// The stream and its subjects. Messages remain until their receiver acknowledges them.
const (
	stream          = "FORUM"
	subjectReceived = "photographs.received" // to the functions: a photograph arrived
	subjectReady    = "photographs.ready"    // to the forum: the functions' report
	subjectDead     = "photographs.dead"     // to the forum: a job at which the functions failed
	reports         = "forum-reports"        // the forum's consumer
)

// CloudEvents 1.0 attributes of the event (CloudEvents, "NATS Protocol Binding").
const (
	eventSource = "/forum"
	eventType   = "forum.photograph.received"
)

// queue carries photographs to the functions and their reports back.
type queue struct {
	conn    *nats.Conn
	js      jetstream.JetStream
	user    string
	consume jetstream.ConsumeContext
}

// openQueue connects, makes stream and consumer, and passes reports to store. It redelivers a
// report for which store returns an error.
func openQueue(ctx context.Context, set bindings.Set, log *slog.Logger, store func(context.Context, report) error) (_ *queue, err error) {
	b := set[0]
	q := &queue{}
	if q.user, err = natsUser(b.Get("jwt")); err != nil {
		return nil, err
	}
	options := []nats.Option{nats.Name("forum"), nats.UserCredentialBytes([]byte(b.Get("creds"))), nats.MaxReconnects(-1)}
	if q.conn, err = nats.Connect(b.Get("uri"), options...); err != nil {
		return nil, fmt.Errorf("connect to the queue: %w", err)
	}
	defer func() {
		if err != nil {
			q.conn.Close()
		}
	}()
	if q.js, err = jetstream.New(q.conn); err != nil {
		return nil, fmt.Errorf("use the queue: %w", err)
	}
	return q, q.prepare(ctx, log, store)
}

// natsUser is the public key of a token's user.
func natsUser(token string) (string, error) {
	claims, err := jwt.DecodeUserClaims(token)
	if err != nil {
		return "", errors.New("the queue's jwt is not the token of a NATS user")
	}
	return claims.Subject, nil
}

func (q *queue) prepare(ctx context.Context, log *slog.Logger, store func(context.Context, report) error) error {
	_, err := q.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{subjectReceived, subjectReady, subjectDead},
		Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxBytes: 32 << 20,
	})
	if err != nil {
		return fmt.Errorf("make the stream: %w", err)
	}
	consumer, err := q.js.CreateOrUpdateConsumer(ctx, stream, jetstream.ConsumerConfig{
		Durable: reports, FilterSubjects: []string{subjectReady, subjectDead}, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: 30 * time.Second,
	})
	if err != nil {
		return fmt.Errorf("make the consumer of reports: %w", err)
	}
	q.consume, err = consumer.Consume(func(m jetstream.Msg) { receive(m, log, store) })
	if err != nil {
		return fmt.Errorf("consume reports: %w", err)
	}
	return nil
}

func (q *queue) identity() string { return q.user }

// Close implements io.Closer. It completes the reports that it has received.
func (q *queue) Close() error {
	q.consume.Drain()
	<-q.consume.Closed()
	return q.conn.Drain()
}

// announce puts the event of a photograph on the queue. It may be repeated: the stream drops
// duplicates.
func (q *queue) announce(ctx context.Context, m member) error {
	data, err := json.Marshal(picture.Job{ID: m.ID, Photograph: m.Photograph})
	if err != nil {
		return err
	}
	_, err = q.js.PublishMsg(ctx, &nats.Msg{Subject: subjectReceived, Data: data, Header: nats.Header{
		"ce-specversion": {"1.0"}, "ce-id": {m.ID}, "ce-source": {eventSource}, "ce-type": {eventType},
		"ce-subject": {m.Photograph}, "Content-Type": {"application/json"},
	}}, jetstream.WithMsgID(m.ID))
	return err
}

// report is the result for a photograph.
type report = picture.Job

// unmade is the message for a photograph at which the functions failed repeatedly, without a
// reason that concerns the photograph.
const unmade = "the picture could not be made"

// The time limit of a report, and the time until one that could not be stored is redelivered.
const (
	reportTime  = 20 * time.Second
	reportAgain = 2 * time.Second
)

// receive passes a message from the queue to store, and acknowledges it. It drops and logs
// messages that are not reports, or not of a member.
func receive(m jetstream.Msg, log *slog.Logger, store func(context.Context, report) error) {
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	r, err := read(m)
	if err == nil {
		err = store(ctx, r)
		if err != nil && !errors.Is(err, errNoMember) {
			log.Warn("a report will be redelivered", "member", r.ID, "error", err)
			logged(log, m.NakWithDelay(reportAgain))
			return
		}
	}
	if err != nil {
		log.Warn("a report is dropped", "error", err)
		logged(log, m.Term())
		return
	}
	logged(log, m.DoubleAck(ctx))
}

// logged logs a failed acknowledgment. The message is redelivered, which is harmless.
func logged(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("a report cannot be acknowledged", "error", err)
	}
}

func read(m jetstream.Msg) (report, error) {
	var r report
	if err := json.Unmarshal(m.Data(), &r); err != nil {
		return r, errors.New("it is not a report in JSON")
	}
	if m.Subject() == subjectDead && r.Refused == "" {
		r.Picture, r.Refused = "", unmade
	}
	if r.ID == "" || r.Picture == "" && r.Refused == "" {
		return r, errors.New("it has no id, or neither picture nor refused")
	}
	return r, nil
}
