package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/chandler-broker/chandler/examples/forum/functions/picture"
)

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
