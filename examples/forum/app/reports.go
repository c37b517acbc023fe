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

// report is what came of a photograph.
type report = picture.Job

// unmade is what members read whose photograph the functions failed at, again and
// again, without saying that the photograph is to blame.
const unmade = "the picture could not be made"

// Of one report: for how long the forum works on it, and when one that it could
// not keep comes again.
const (
	reportTime  = 20 * time.Second
	reportAgain = 2 * time.Second
)

// receive hands a message from the queue on as a report. It is acknowledged when
// it is kept; what is no report, or about nobody, is dropped and logged.
func receive(m jetstream.Msg, log *slog.Logger, told func(context.Context, report) error) {
	ctx, cancel := context.WithTimeout(context.Background(), reportTime)
	defer cancel()
	r, err := read(m)
	if err == nil {
		err = told(ctx, r)
		if err != nil && !errors.Is(err, errNoMember) {
			log.Warn("a report has to come again", "member", r.ID, "error", err)
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

// logged: a message that could not be acknowledged comes again, which is harmless.
func logged(log *slog.Logger, err error) {
	if err != nil {
		log.Warn("a report cannot be acknowledged", "error", err)
	}
}

func read(m jetstream.Msg) (report, error) {
	var r report
	if err := json.Unmarshal(m.Data(), &r); err != nil {
		return r, errors.New("it is not JSON of a report's types")
	}
	if m.Subject() == subjectDead && r.Refused == "" {
		r.Picture, r.Refused = "", unmade
	}
	if r.ID == "" || r.Picture == "" && r.Refused == "" {
		return r, errors.New("it has no id, or neither picture nor refused")
	}
	return r, nil
}
