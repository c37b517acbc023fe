package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Ready implements services.Readier: the servers answer, JetStream is enabled
// with the limits that no account has, and they take the operator's orders.
func (b *backend) Ready(ctx context.Context) error {
	there, err := b.link.present(ctx)
	if err != nil {
		return err
	}
	if _, err := b.link.usageOf(ctx, there, ""); err != nil {
		return err
	}
	if err := b.limited(ctx, there); err != nil {
		return err
	}
	order, err := b.keys.deletion() // of nothing: whether it is obeyed says it all
	if err != nil {
		return err
	}
	if _, err := b.link.all(ctx, there, deleteSubject, []byte(order)); err != nil {
		return fmt.Errorf("the servers do not take the operator's orders; operator_seed must be of a key that their operator's JWT names, and their resolver of type full with allow_delete: true: %w", err)
	}
	return nil
}

// limitReport is what a server tells of JetStream's limits that are its own and
// not an account's (NATS documentation, "Monitoring", jsz).
type limitReport struct {
	Disabled bool `json:"disabled"`
	API      struct {
		Level int `json:"level"`
	} `json:"api"`
	Limits struct {
		Window   time.Duration `json:"max_duplicate_window"`
		Batches  int           `json:"max_batch_inflight_per_stream"`
		Messages int           `json:"max_batch_size"`
	} `json:"limits"`
}

// batchLevel is the level of the API from which there are atomic batches.
const batchLevel = 2

// missing are the limits that a server lacks.
func (r limitReport) missing() []string {
	var missing []string
	if r.Disabled {
		return nil
	}
	if r.Limits.Window <= 0 {
		missing = append(missing, "duplicate_window")
	}
	if r.API.Level >= batchLevel && (r.Limits.Batches <= 0 || r.Limits.Messages <= 0) {
		missing = append(missing, "batch.max_inflight_per_stream and batch.max_msgs")
	}
	return missing
}

// limited checks that the servers have the limits without which an application
// takes memory and disk space that is counted for nobody.
func (b *backend) limited(ctx context.Context, there servers) error {
	answers, err := b.link.all(ctx, there, streamSubject, []byte(`{}`))
	if err != nil {
		return fmt.Errorf("ask for the limits of JetStream: %w", err)
	}
	var faults []string
	for id, data := range answers {
		var r limitReport
		if err := json.Unmarshal(data, &r); err != nil {
			return fmt.Errorf("ask for the limits of JetStream: %w", errNonsense)
		}
		if missing := r.missing(); len(missing) > 0 {
			faults = append(faults, fmt.Sprintf("server %s: jetstream.limits: set %s", there[id], strings.Join(missing, ", ")))
		}
	}
	if len(faults) == 0 {
		return nil
	}
	slices.Sort(faults)
	return errors.New(strings.Join(faults, "; ") + ": without them an application can use memory and disk space that no plan counts; see the README of queue/nats before you set them")
}
