package nats

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/chandler-broker/chandler/services"
)

const (
	// maxLooks is how many instances one call examines, each with a request to all servers.
	maxLooks = 50
	// lookAge is how old a result may become before the next examination.
	lookAge = 10 * time.Second
	// An instance with a longer window for duplicates, or more messages that wait for an
	// acknowledgement, is over quota: the server keeps both in memory that no account counts.
	maxWindow         = 2 * time.Minute
	maxUnacknowledged = 1_000_000
)

// sighting is what Reconcile saw of an instance.
type sighting struct {
	message string
	at      time.Time
}

// Reconcile implements services.Reconciler: it reports what no limit of an account bounds.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	all, err := b.link.present(ctx)
	if err != nil {
		return result, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	maps.DeleteFunc(b.seen, func(_ string, s sighting) bool { return time.Since(s.at) > time.Hour }) // of instances that are gone
	err = b.look(b.due(r.Instances), func(inst instance) (string, error) { return b.unbounded(ctx, all, inst) })
	for _, inst := range r.Instances {
		result.Record(inst.ID, services.Condition{Reason: services.OverQuota, Message: b.seen[inst.ID].message}, nil)
	}
	return result, err
}

// look examines instances until one fails, since the others would likely fail too. That one then
// waits like the others, so that it does not block them.
func (b *backend) look(due []instance, unbounded func(instance) (string, error)) error {
	for _, inst := range due {
		message, err := unbounded(inst)
		if err != nil {
			message = b.seen[inst.ID].message
		}
		if b.seen[inst.ID] = (sighting{message, time.Now()}); err != nil {
			return fmt.Errorf("instance %s: %w", inst.ID, err)
		}
	}
	return nil
}

// due are the instances to examine now, the longest unexamined first.
func (b *backend) due(instances []instance) []instance {
	old := slices.DeleteFunc(slices.Clone(instances), func(inst instance) bool { return time.Since(b.seen[inst.ID].at) < lookAge })
	slices.SortStableFunc(old, func(x, y instance) int { return b.seen[x.ID].at.Compare(b.seen[y.ID].at) })
	return old[:min(len(old), maxLooks)]
}

// unbounded says what an instance uses that nothing bounds; empty: nothing.
func (b *backend) unbounded(ctx context.Context, all servers, inst instance) (string, error) {
	public, err := b.keys.account(inst.Name)
	if err != nil {
		return "", err
	}
	answers, err := b.link.reports(ctx, all, askStreams, fmt.Sprintf(`{"account": %q, "streams": true, "config": true, "consumer": true}`, public))
	if err != nil {
		return "", err
	}
	long, unacknowledged := map[string]bool{}, map[string]int64{}
	for _, r := range answers {
		r.collect(public, long, unacknowledged)
	}
	return complaint(long, unacknowledged), nil
}

// collect adds the streams with long windows, and the unacknowledged messages by stream and
// consumer. Each server that has a copy reports them.
func (r report) collect(account string, long map[string]bool, unacknowledged map[string]int64) {
	for _, a := range r.Accounts {
		if a.ID != account {
			continue
		}
		for _, s := range a.Streams {
			if s.Config.Window > maxWindow {
				long[s.Name] = true
			}
			for _, c := range s.Consumers {
				key := s.Name + " " + c.Name
				unacknowledged[key] = max(unacknowledged[key], c.Pending)
			}
		}
	}
}

// complaint is the message for the instance's user.
func complaint(long map[string]bool, unacknowledged map[string]int64) string {
	var faults []string
	for name := range long {
		faults = append(faults, fmt.Sprintf("stream %s: duplicate_window is longer than %s, and the server keeps the IDs of all messages in that time in memory; set it to at most %s", name, maxWindow, maxWindow))
	}
	slices.Sort(faults)
	total := int64(0)
	for _, n := range unacknowledged {
		total += n
	}
	if total > maxUnacknowledged {
		faults = append(faults, fmt.Sprintf("consumers: %d messages wait for an acknowledgement, of at most %d, and the server keeps each in memory; acknowledge them, or set max_ack_pending", total, maxUnacknowledged))
	}
	const most = 5
	if len(faults) > most {
		faults = append(faults[:most], "and more")
	}
	return strings.Join(faults, "; ")
}
