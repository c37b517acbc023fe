package rabbitmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"

	rabbithole "github.com/michaelklishin/rabbit-hole/v3"

	"github.com/chandler-broker/chandler/services"
)

// holding is what a virtual host held some seconds ago. The server does not report streams' size,
// but limits it.
type holding struct {
	messages, unacknowledged            int
	bytes, unacknowledgedBytes          services.Size
	uncommitted                         int
	acknowledgesNothing, commitsNothing map[string]bool // names of connections
}

// Reconcile implements services.Reconciler. The length of a queue excludes unacknowledged messages
// and those of open transactions. Connections that hold too many of these are closed.
func (b *backend) Reconcile(ctx context.Context, r services.ReconcileRequest[Plan, InstanceParams]) (result services.ReconcileResult, err error) {
	if len(r.Instances) == 0 {
		return result, nil
	}
	c := b.api.client(ctx)
	lengths, err := lengthsOf(c)
	if err != nil {
		return result, err
	}
	held, err := b.holdings(ctx)
	if err != nil {
		return result, err
	}
	for _, inst := range r.Instances {
		var condition services.Condition
		var limited, closed error
		vhost := b.names.vhost(inst.Name)
		if current, ok := lengths[vhost]; ok && !current.inSync(inst.Plan, b.frame) {
			limited = b.limit(c, vhost, inst.Plan)
		}
		if absent(limited) { // the virtual host was removed in the meantime
			limited = nil
		}
		if h, ok := held[vhost]; ok {
			condition = services.Condition{Reason: services.OverQuota, Message: h.overQuota(inst.Plan, b.frame)}
			closed = closeConnections(c, h.hoarders(inst.Plan, b.frame))
		}
		result.Record(inst.ID, condition, errors.Join(limited, closed))
	}
	return result, nil
}

// closeConnections closes connections; one that has ended is no error.
func closeConnections(c *rabbithole.Client, names map[string]bool) error {
	var faults []error
	for name := range names {
		if _, err := c.CloseConnection(name); err != nil && !failed(err) {
			faults = append(faults, explain("close connection "+name, err))
		}
	}
	return errors.Join(faults...)
}

// mostOf returns what all queues of an instance may hold together; 0: without limit.
func mostOf(p Plan, headers services.Size) (bytes services.Size, messages int) {
	return p.QueueSize * services.Size(p.Queues), p.messages(headers) * p.Queues
}

// overQuota tells the user which limit is exceeded.
func (h *holding) overQuota(p Plan, headers services.Size) string {
	bytes, messages := mostOf(p, headers)
	switch {
	case bytes != 0 && h.bytes > bytes:
		return fmt.Sprintf("queues: hold %s of %s, of which %s were delivered and are not acknowledged; acknowledge or purge messages, or choose a larger plan",
			h.bytes, bytes, h.unacknowledgedBytes)
	case messages != 0 && h.messages > messages:
		return fmt.Sprintf("queues: hold %d of %d messages, of which %d were delivered and are not acknowledged; acknowledge or purge messages, or choose a larger plan",
			h.messages, messages, h.unacknowledged)
	case messages != 0 && h.uncommitted > p.messages(headers):
		return fmt.Sprintf("transactions: hold %d messages of %d; commit sooner", h.uncommitted, p.messages(headers))
	}
	return ""
}

// hoarders are the connections that hold more than all queues may.
func (h *holding) hoarders(p Plan, headers services.Size) map[string]bool {
	bytes, messages := mostOf(p, headers)
	found := map[string]bool{}
	if bytes != 0 && h.unacknowledgedBytes > bytes || messages != 0 && h.unacknowledged > messages {
		maps.Copy(found, h.acknowledgesNothing)
	}
	if messages != 0 && h.uncommitted > p.messages(headers) {
		maps.Copy(found, h.commitsNothing)
	}
	return found
}

// limits are the operator policies of a virtual host, by their names.
type limits map[string]map[string]any

// lengthsOf returns the operator policies of all virtual hosts that there are.
func lengthsOf(c *rabbithole.Client) (map[string]limits, error) {
	vhosts, err := c.ListVhosts()
	if err != nil {
		return nil, explain("list virtual hosts", err)
	}
	policies, err := c.ListOperatorPolicies()
	if err != nil {
		return nil, explain("list operator policies", err)
	}
	found := map[string]limits{}
	for _, v := range vhosts {
		found[v.Name] = limits{}
	}
	for _, p := range policies {
		if current, ok := found[p.Vhost]; ok {
			current[p.Name] = p.Definition
		}
	}
	return found, nil
}

// inSync says whether the policies are the plan's. Those from before an upgrade may not be.
func (l limits) inSync(p Plan, headers services.Size) bool {
	return same(l[policy], p.lengths(headers)) && same(l[streamPolicy], p.streamLengths())
}

// same compares what was read from JSON, where numbers have a fraction.
func same(current, wanted map[string]any) bool {
	return maps.EqualFunc(current, wanted, func(a, b any) bool { return fmt.Sprintf("%.0f", a) == fmt.Sprintf("%d", b) })
}

// holdings asks what all virtual hosts hold, which costs less than asking for each.
func (b *backend) holdings(ctx context.Context) (map[string]*holding, error) {
	var queues []struct {
		Vhost               string `json:"vhost"`
		Type                string `json:"type"`
		Messages            int    `json:"messages"`
		Unacknowledged      int    `json:"messages_unacknowledged"`
		Bytes               int64  `json:"message_bytes"`
		UnacknowledgedBytes int64  `json:"message_bytes_unacknowledged"`
	}
	var channels []struct {
		Vhost          string          `json:"vhost"`
		Unacknowledged int             `json:"messages_unacknowledged"`
		Uncommitted    int             `json:"messages_uncommitted"`
		Connection     json.RawMessage `json:"connection_details"`
	}
	if err := b.api.get(ctx, "/api/queues?columns=vhost,type,messages,messages_unacknowledged,message_bytes,message_bytes_unacknowledged", &queues); err != nil {
		return nil, explain("ask what the queues hold", err)
	}
	if err := b.api.get(ctx, "/api/channels?columns=vhost,messages_unacknowledged,messages_uncommitted,connection_details.name", &channels); err != nil {
		return nil, explain("ask what the channels hold", err)
	}
	held := map[string]*holding{}
	find := func(vhost string) *holding {
		if held[vhost] == nil {
			held[vhost] = &holding{acknowledgesNothing: map[string]bool{}, commitsNothing: map[string]bool{}}
		}
		return held[vhost]
	}
	for _, q := range queues {
		if q.Type == "stream" {
			continue
		}
		h := find(q.Vhost)
		h.messages += q.Messages
		h.unacknowledged += q.Unacknowledged
		h.bytes += services.Size(q.Bytes)
		h.unacknowledgedBytes += services.Size(q.UnacknowledgedBytes)
	}
	for _, ch := range channels {
		var connection struct{ Name string }
		if json.Unmarshal(ch.Connection, &connection) != nil || connection.Name == "" {
			continue // an empty list stands for that of a channel that was just opened
		}
		h := find(ch.Vhost)
		h.uncommitted += ch.Uncommitted
		if ch.Unacknowledged > 0 {
			h.acknowledgesNothing[connection.Name] = true
		}
		if ch.Uncommitted > 0 {
			h.commitsNothing[connection.Name] = true
		}
	}
	return held, nil
}
